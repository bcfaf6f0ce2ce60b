/** Our own tables: what the shards of a run have found, beside the schema in which pg-boss keeps the jobs. */
import { Fault } from '../fault.ts'
import type { Database } from './database.ts'

export const SCHEMA = 'orthanc_cloud_storage'
/** Of pg-boss, which makes its own tables there. */
export const JOBS_SCHEMA = 'orthanc_cloud_queue'

const VERSION = 2

/**
 * What works have said is kept as text: JSON of PostgreSQL cannot hold every string. A run is `open` until its report
 * has been printed, and while shards are left that could not be done: then the same command goes on with it.
 */
const TABLES = `
  CREATE TABLE ${SCHEMA}.version (version integer NOT NULL);
  INSERT INTO ${SCHEMA}.version VALUES (${VERSION});
  CREATE TABLE ${SCHEMA}.runs (
    id uuid PRIMARY KEY,
    work text NOT NULL,
    command text NOT NULL,
    identity text NOT NULL,
    begun timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'incomplete')),
    ended timestamptz,
    reporter uuid,
    reported timestamptz,
    open boolean NOT NULL DEFAULT true
  );
  CREATE UNIQUE INDEX runs_open ON ${SCHEMA}.runs (work) WHERE open;
  CREATE TABLE ${SCHEMA}.shards (
    run uuid NOT NULL REFERENCES ${SCHEMA}.runs ON DELETE CASCADE,
    shard smallint NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'taken', 'done', 'failed')),
    worker uuid,
    token uuid,
    job uuid,
    attempt integer,
    written integer NOT NULL DEFAULT 0,
    ended timestamptz,
    remembered text,
    tally text,
    failures text,
    fault text,
    PRIMARY KEY (run, shard)
  );
  CREATE TABLE ${SCHEMA}.lines (
    run uuid NOT NULL REFERENCES ${SCHEMA}.runs ON DELETE CASCADE,
    shard smallint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    line text NOT NULL,
    PRIMARY KEY (run, shard, id)
  );
  CREATE TABLE ${SCHEMA}.given (
    run uuid NOT NULL REFERENCES ${SCHEMA}.runs ON DELETE CASCADE,
    shard smallint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    token uuid NOT NULL,
    part bytea NOT NULL,
    PRIMARY KEY (run, shard, id)
  );
  CREATE TABLE ${SCHEMA}.workers (
    run uuid NOT NULL REFERENCES ${SCHEMA}.runs ON DELETE CASCADE,
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    begun timestamptz NOT NULL DEFAULT now(),
    seen timestamptz NOT NULL DEFAULT now(),
    ended timestamptz,
    rate double precision NOT NULL DEFAULT 0,
    under_way text NOT NULL DEFAULT '{}'
  );
  CREATE INDEX workers_run ON ${SCHEMA}.workers (run)`

/** Several processes may start at the same moment: one makes the tables, the others wait for it. */
export async function ensureTables(database: Database): Promise<void> {
  await database.transaction(async ({ rows }) => {
    const [there] = await rows(`SELECT to_regclass('${SCHEMA}.version') IS NOT NULL AS tables`)
    if (there?.['tables'] !== true) {
      await rows(`SELECT pg_advisory_xact_lock(hashtext('${SCHEMA}'))`)
      const [now] = await rows(
        `SELECT to_regclass('${SCHEMA}.version') IS NOT NULL AS tables,
           to_regnamespace('${SCHEMA}') IS NOT NULL AS ours, to_regnamespace('${JOBS_SCHEMA}') IS NOT NULL AS jobs`,
      )
      // A schema that an administrator made is taken as it is: "IF NOT EXISTS" needs the right to make one, even then.
      if (now?.['ours'] !== true) await rows(`CREATE SCHEMA ${SCHEMA}`)
      if (now?.['jobs'] !== true) await rows(`CREATE SCHEMA ${JOBS_SCHEMA}`)
      if (now?.['tables'] !== true) await rows(TABLES)
    }
    const [found] = await rows(`SELECT version FROM ${SCHEMA}.version`)
    if (found?.['version'] === VERSION) return true
    throw new Fault('BadConfig', `${database.name} has tables of another version of this program`, {
      remedy: 'Run the same version on all machines, or use another database.',
    })
  })
}

/** Whether anybody has used this database for a queue. */
export async function hasTables(database: Database): Promise<boolean> {
  const [there] = await database.rows(`SELECT to_regclass('${SCHEMA}.version') IS NOT NULL AS tables`)
  return there?.['tables'] === true
}
