"""Attribution: which exposure each conversion goes to, derived from what is stored and derivable again."""
