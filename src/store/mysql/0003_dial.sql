-- Schema version 3: where the center dials an agent, HOST:PORT; the agent dials the center where null.
ALTER TABLE agent ADD COLUMN dial_address MEDIUMTEXT;
