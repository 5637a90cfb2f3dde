-- A role for the page of a cluster (`hepar web`) that sees all and changes no job.
--
--   psql --dbname hepar --file page.sql       as the role of gateways and workers, to which the
--                                             tables belong, after the first of them has started,
--                                             and again after a release that adds tables
--
-- Where that role may not make others, somebody who may makes this one before.
--
-- The page can drain processes. What its other buttons write it may not, so they answer with an
-- error: use `hepar jobs` where the other role's password is.

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hepar_page') THEN
    CREATE ROLE hepar_page LOGIN;  -- then \password hepar_page
  END IF;
END $$;

GRANT USAGE ON SCHEMA dbos, hepar TO hepar_page;
GRANT SELECT ON ALL TABLES IN SCHEMA dbos, hepar TO hepar_page;
GRANT INSERT, UPDATE, DELETE ON hepar.members, hepar.drains TO hepar_page;
-- DBOS notes its version at each start.
GRANT INSERT, UPDATE ON dbos.application_versions TO hepar_page;

-- Tables that a later release adds.
ALTER DEFAULT PRIVILEGES IN SCHEMA dbos GRANT SELECT ON TABLES TO hepar_page;
ALTER DEFAULT PRIVILEGES IN SCHEMA hepar GRANT SELECT ON TABLES TO hepar_page;
