"""Moving an installation to other stores, and back: everything is copied, compared, and then used in the new place."""
