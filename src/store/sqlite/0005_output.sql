-- Schema version 5: bytes of a run's output that were taken out of its middle to keep the cap, and that its command
-- took back by making the file shorter; null where there are none.
ALTER TABLE run ADD COLUMN output_gap INTEGER;
ALTER TABLE run ADD COLUMN output_cut INTEGER;
