-- How many events goals name, and how many of them are attributed.
SELECT count(), countIf(media_buy_id != '') FROM attribution FINAL
