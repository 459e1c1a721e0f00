"""The AdCP wire: shapes, enumerations, releases and error vocabularies. No I/O."""
