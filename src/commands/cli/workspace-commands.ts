/** Entries of registry.ts: doctor, instances, branches and synced-tables, which ask the workspace and end. */

import { SETTING_NAMES } from '../../config/schema/table.js'
import type { Command } from '../invocation/command.js'

export const WORKSPACE_COMMANDS: readonly Command[] = [
  {
    name: 'doctor',
    summary: 'try every step from the settings to a query, and say how to fix what fails',
    operands: ['[TARGET]'],
    settings: SETTING_NAMES,
    options: [
      { flags: '--json', help: 'print the steps as JSON' },
      { flags: '--verbose', help: 'show every setting and where it was set' },
    ],
    examples: [
      'doctor',
      'doctor my-instance',
      'doctor --profile dev projects/shop',
      'doctor --json',
    ],
    run: async (given) => (await import('../doctor/doctor.js')).doctor(given),
  },
  {
    name: 'instances',
    summary: 'list, show, start and stop instances and endpoints',
    examples: ['instances list', 'instances start my-instance'],
    subcommands: [
      {
        name: 'list',
        summary: 'list both kinds of Lakebase in the workspace',
        settings: SETTING_NAMES,
        options: [{ flags: '--json', help: 'print them as JSON' }],
        examples: ['instances list', 'instances list --profile prod'],
        run: async (given) => (await import('../workspace/instances.js')).listInstances(given),
      },
      {
        name: 'show',
        summary: 'show one, with its state and hosts',
        operands: ['[TARGET]'],
        settings: SETTING_NAMES,
        options: [{ flags: '--json', help: 'print it as JSON' }],
        examples: ['instances show my-instance', 'instances show projects/shop --json'],
        run: async (given) => (await import('../workspace/instances.js')).showInstance(given),
      },
      {
        name: 'start',
        summary: 'start a stopped Provisioned instance, and wait until it is available',
        operands: ['[TARGET]'],
        settings: SETTING_NAMES,
        examples: ['instances start my-instance'],
        run: async (given) => (await import('../workspace/instances.js')).startInstance(given),
      },
      {
        name: 'stop',
        summary: 'stop a Provisioned instance, and wait until it is stopped',
        operands: ['[TARGET]'],
        settings: SETTING_NAMES,
        examples: ['instances stop my-instance'],
        run: async (given) => (await import('../workspace/instances.js')).stopInstance(given),
      },
    ],
  },
  {
    name: 'branches',
    summary: 'list, create and delete branches of Autoscaling projects',
    examples: ['branches list', 'branches create fix-login --from projects/shop --ttl 8h'],
    subcommands: [
      {
        name: 'list',
        summary: 'list branches with their age and when they expire',
        operands: ['[PROJECT]'],
        settings: SETTING_NAMES,
        options: [{ flags: '--json', help: 'print them as JSON' }],
        notes: `
A branch is shown as made by lakebase-proxy when its name has the form that lakebase-proxy gives.
`,
        examples: ['branches list', 'branches list projects/shop --json'],
        run: async (given) => (await import('../workspace/branches.js')).listBranchesOf(given),
      },
      {
        name: 'create',
        summary: 'make a branch, wait until it takes connections, and print its name',
        operands: ['<NAME>'],
        settings: SETTING_NAMES,
        options: [
          {
            flags: '--from <SOURCE>',
            help: 'projects/P (its default branch), or projects/P/branches/B',
          },
          { flags: '--ttl <DURATION>', help: 'its life, at most 30 days', default: '2h' },
        ],
        examples: ['branches create fix-login --from projects/shop --ttl 8h'],
        run: async (given) => (await import('../workspace/branches.js')).createBranch(given),
      },
      {
        name: 'delete',
        summary: 'delete a branch, but never a default or a protected one',
        operands: ['<NAME>'],
        settings: SETTING_NAMES,
        options: [
          {
            flags: '--purge',
            help: 'for good: it cannot be brought back, and its name is free at once',
          },
        ],
        notes: `
A bare NAME is enough where the sign-in sees one project; else it is projects/P/branches/NAME.
`,
        examples: ['branches delete fix-login', 'branches delete projects/shop/branches/fix-login'],
        run: async (given) => (await import('../workspace/branches.js')).deleteBranch(given),
      },
    ],
  },
  {
    name: 'synced-tables',
    summary: 'keep Delta tables up to date in Postgres (reverse ETL)',
    examples: ['synced-tables show main.shop.orders_synced'],
    subcommands: [
      {
        name: 'create',
        summary: 'make a synced table of a Delta table',
        operands: ['<NAME>'],
        settings: SETTING_NAMES,
        options: [
          { flags: '--source <C.S.T>', help: 'the Delta table to follow' },
          { flags: '--primary-key <COLUMNS>', help: 'its key, columns separated by commas' },
          {
            flags: '--policy <POLICY>',
            help: 'when it is brought up to date',
            choices: ['snapshot', 'triggered', 'continuous'],
          },
          { flags: '--target <TARGET>', help: 'the instance or endpoint to keep it in' },
          {
            flags: '--timeseries-key <COLUMN>',
            help: 'of rows with the same key, keep the one with the highest COLUMN',
          },
          { flags: '--pipeline <ID>', help: 'use this pipeline instead of a new one' },
          { flags: '--storage-catalog <CATALOG>', help: "for a new pipeline (default: NAME's)" },
          { flags: '--storage-schema <SCHEMA>', help: "for a new pipeline (default: NAME's)" },
          { flags: '--wait', help: 'show its state until it is online or has failed' },
        ],
        notes: `
NAME and --source have three parts: CATALOG.SCHEMA.TABLE. --database names the Postgres database
(default: databricks_postgres). triggered and continuous need the source's change data feed.
`,
        examples: [
          'synced-tables create main.shop.orders_synced --source main.shop.orders --primary-key id --policy snapshot --target my-instance --wait',
        ],
        run: async (given) => (await import('../workspace/synced-tables.js')).createTable(given),
      },
      {
        name: 'show',
        summary: 'show one, with its state',
        operands: ['<NAME>'],
        settings: SETTING_NAMES,
        options: [{ flags: '--json', help: 'print it as JSON' }],
        examples: ['synced-tables show main.shop.orders_synced'],
        run: async (given) => (await import('../workspace/synced-tables.js')).showTable(given),
      },
      {
        name: 'list',
        summary: 'list the synced tables of a target (not for Provisioned)',
        settings: SETTING_NAMES,
        options: [
          { flags: '--target <TARGET>', help: 'the instance or endpoint they are kept in' },
          { flags: '--json', help: 'print them as JSON' },
        ],
        examples: ['synced-tables list --target projects/shop'],
        run: async (given) => (await import('../workspace/synced-tables.js')).listTables(given),
      },
      {
        name: 'delete',
        summary: 'delete one from Unity Catalog',
        operands: ['<NAME>'],
        settings: SETTING_NAMES,
        options: [{ flags: '--purge-data', help: 'drop the Postgres table too (Provisioned)' }],
        examples: ['synced-tables delete main.shop.orders_synced --purge-data'],
        run: async (given) => (await import('../workspace/synced-tables.js')).deleteTable(given),
      },
    ],
  },
]
