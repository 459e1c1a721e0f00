-- Parts that a merge replaced are kept for a minute, so that they can come back if the merge made a broken one.
ALTER TABLE event MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE test_event MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE rejected_event MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE source_activity MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE exposure MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE delivery_total MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE attribution MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE exposure_hour MODIFY SETTING old_parts_lifetime = 60;
ALTER TABLE conversion_hour MODIFY SETTING old_parts_lifetime = 60;
