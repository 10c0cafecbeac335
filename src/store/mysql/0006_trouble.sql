-- Schema version 6: what did not succeed is found by task and by agent without looking through what did. The columns are
-- null for all other runs.
ALTER TABLE run
  ADD COLUMN trouble_task VARCHAR(64) GENERATED ALWAYS AS (IF(outcome <> 'succeeded', task, NULL)) VIRTUAL,
  ADD COLUMN trouble_agent VARCHAR(64) GENERATED ALWAYS AS (IF(outcome <> 'succeeded', agent, NULL)) VIRTUAL;
ALTER TABLE run
  ADD KEY run_trouble_by_task (trouble_task, outcome, scheduled_at),
  ADD KEY run_trouble_by_agent (trouble_agent, outcome, scheduled_at);
