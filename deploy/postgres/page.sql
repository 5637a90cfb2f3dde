-- A role for the page of a cluster (`hepar web`) that sees all and changes no job.
--
--   psql --dbname hepar --file page.sql       as the role of gateways and workers, to which the
--                                             tables belong, after the first of them has started
--
-- The page can drain processes. What its other buttons write it may not, so they answer with an
-- error: use `hepar jobs` where the other role's password is.

CREATE ROLE hepar_page LOGIN;  -- then \password hepar_page

GRANT USAGE ON SCHEMA dbos, hepar TO hepar_page;
GRANT SELECT ON ALL TABLES IN SCHEMA dbos, hepar TO hepar_page;
GRANT INSERT, UPDATE, DELETE ON hepar.members, hepar.drains TO hepar_page;
-- DBOS notes its version at each start.
GRANT INSERT, UPDATE ON dbos.application_versions TO hepar_page;

-- Tables that a later release adds.
ALTER DEFAULT PRIVILEGES IN SCHEMA dbos GRANT SELECT ON TABLES TO hepar_page;
ALTER DEFAULT PRIVILEGES IN SCHEMA hepar GRANT SELECT ON TABLES TO hepar_page;
