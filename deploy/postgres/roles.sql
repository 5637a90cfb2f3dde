-- A role of PostgreSQL for each role of a cluster, with the rights that it needs and no others.
--
--   hepar migrate                            with the address of the role to which the tables belong
--   psql --dbname hepar --file roles.sql     as the same role
--   \password hepar_gateway                  and of the other three, in psql
--
-- Run the first two again at each upgrade, before the processes start. Where the owner may not make
-- roles, somebody who may makes these four before:
--
--   hepar_gateway     hepar receive: adds and cancels jobs, and changes nothing that workers wrote
--   hepar_worker      hepar work, and hepar jobs: changes all rows, and no table
--   hepar_deliverer   hepar deliver: works on deliveries, and adds and removes none
--   hepar_page        hepar web: sees all, drains processes, changes no job
--
-- docs/scale.md says what each of them could still do wrong.

\set ON_ERROR_STOP on
BEGIN;

DO $$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['hepar_gateway', 'hepar_worker', 'hepar_deliverer', 'hepar_page']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', role);
    END IF;
  END LOOP;
END $$;

-- What an earlier release granted goes; until COMMIT nobody notices.
REVOKE ALL ON ALL TABLES IN SCHEMA dbos, hepar
  FROM hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA dbos, hepar
  FROM hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;

-- All: they read, have a heartbeat, and can be drained.
GRANT USAGE ON SCHEMA dbos, hepar
  TO hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;
GRANT SELECT ON ALL TABLES IN SCHEMA dbos, hepar
  TO hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;
GRANT INSERT, UPDATE, DELETE ON hepar.members, hepar.drains
  TO hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;
-- DBOS notes its version at each start.
GRANT INSERT, UPDATE (application_name) ON dbos.application_versions
  TO hepar_gateway, hepar_worker, hepar_deliverer, hepar_page;

-- Those that do jobs note the version of their steps.
GRANT INSERT, UPDATE, DELETE ON hepar.steps TO hepar_worker, hepar_deliverer;

-- Gateways. By columns, so that a job that is added has no result, and what it was started with, who
-- works on it and what came of it stay as they are.
GRANT INSERT (
  workflow_uuid, status, name, class_name, config_name, executor_id, application_version,
  application_id, authenticated_user, authenticated_roles, assumed_role, queue_name,
  recovery_attempts, workflow_timeout_ms, workflow_deadline_epoch_ms, deduplication_id, priority,
  serialization, queue_partition_key, parent_workflow_id, creator_xid, owner_xid,
  delay_until_epoch_ms, attributes, schedule_name, debounce_deadline_epoch_ms, is_debounced,
  application_name
) ON dbos.workflow_status TO hepar_gateway;
GRANT INSERT ON dbos.workflow_input TO hepar_gateway;
-- A job that came again, changed, supersedes the older one, which is cancelled; one is made urgent.
GRANT UPDATE (
  creator_xid, attributes, updated_at, status, owner_xid, queue_name, deduplication_id,
  started_at_epoch_ms, completed_at, recovery_attempts, workflow_deadline_epoch_ms
) ON dbos.workflow_status TO hepar_gateway;
GRANT INSERT, UPDATE, DELETE ON hepar.parts, hepar.expectations, hepar.holdings TO hepar_gateway;
GRANT INSERT, UPDATE ON hepar.addresses TO hepar_gateway;

-- Workers.
GRANT INSERT, UPDATE, DELETE ON
  dbos.workflow_status, dbos.workflow_output, dbos.operation_outputs, dbos.notifications,
  dbos.workflow_events, dbos.workflow_events_history, dbos.streams
  TO hepar_worker;
GRANT INSERT, DELETE ON dbos.workflow_input TO hepar_worker;
GRANT INSERT, UPDATE ON dbos.queues TO hepar_worker;
GRANT INSERT, UPDATE, DELETE ON hepar.epochs TO hepar_worker;
GRANT USAGE ON SEQUENCE hepar.epoch_numbers TO hepar_worker;
GRANT INSERT, DELETE ON hepar.series_numbers TO hepar_worker;

-- Deliverers. By columns, so that no job is another one, or started with something else.
GRANT UPDATE (
  status, executor_id, application_version, application_name, recovery_attempts,
  workflow_deadline_epoch_ms, owner_xid, queue_name, deduplication_id, rate_limited,
  started_at_epoch_ms, updated_at, completed_at, attributes
) ON dbos.workflow_status TO hepar_deliverer;
GRANT INSERT, UPDATE ON dbos.workflow_output TO hepar_deliverer;
GRANT INSERT, UPDATE (completed_at_epoch_ms) ON dbos.operation_outputs TO hepar_deliverer;
GRANT UPDATE ON dbos.notifications TO hepar_deliverer;
GRANT INSERT, UPDATE ON dbos.queues TO hepar_deliverer;

COMMIT;
