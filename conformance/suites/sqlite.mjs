// Conditions, orders, limits and numbers of members, against SQLite (npm sql.js): 1,000 tables, each put as a resource
// (PROTOCOL Q1 to Q3, Q11 to Q15).
//
// A row is a member of the resource, and its first column the member's name. A value that is not there is NULL: both
// are unknown to a condition, and first in an order. What means something else in SQL is left out: columns of mixed
// types (there numbers come before all texts, and booleans are numbers), JSON null beside what is not there, objects
// and arrays as values, strings with U+0000 or of more than 256 characters.
//
// HALFPING_RECORDING names a recording of aircraft: then every tenth table is what was in the air at some time of it.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { createGunzip } from 'node:zlib';
import initSqlite from 'sql.js';
import { JSON_TYPE, send } from '../lib/http.mjs';
import { randomness, seed } from '../lib/random.mjs';

const TABLES = 1000;
const QUERIES = 5;
/** Rows of most tables, and of every hundredth, which is larger than what is looked through in one turn. */
const ROWS_MAX = [40, 1500];
const LETTERS = ['a', 'b', 'B', 'z', 'ä', 'é', '\uffff', '😀', '𝔞', "'", '"', '\\', ' ', '-', '0', '9', '%'];

/** Columns by the path of their members. */
const columns = {
  generated: { n: 'number', r: 'number', s: 'text', t: 'text', b: 'boolean', 'deep.n': 'number', 'deep.s': 'text' },
  aircraft: {
    callsign: 'text',
    latitude: 'number',
    longitude: 'number',
    altitude_ft: 'number',
    groundspeed_kt: 'number',
    track_deg: 'number',
    vertical_rate_fpm: 'number',
  },
};

export async function run(url) {
  const { Database } = await initSqlite();
  const random = randomness(seed);
  const recorded = await recording(random);
  const failures = [];
  let passed = 0;
  for (let number = 0; number < TABLES && failures.length < 20; number += 1) {
    const table = recorded.length > 0 && number % 10 === 0 ? random.pick(recorded) : generated(random, number);
    const resource = `${url}/sqlite/${number}`;
    const put = await send('PUT', resource, { type: JSON_TYPE, body: table.text });
    if (put.status !== 201) {
      failures.push(`PUT of table ${number} should be 201, is ${put.status} ${put.text}`);
      continue;
    }
    const database = new Database();
    load(database, table);
    for (let times = 0; times < QUERIES; times += 1) {
      const failure = await check(resource, database, table, query(random, table));
      if (failure) failures.push(`table ${number} of SEED=${seed}: ${failure}`);
      else passed += 1;
    }
    database.close();
    await send('DELETE', resource);
  }
  const notes = [`SEED=${seed}`];
  if (recorded.length === 0) notes.push('HALFPING_RECORDING is not set: all tables are made up');
  return { passed, failures, notes };
}

/** A query: the parameters, and the same in SQL. */
function query(random, table) {
  const found = { parameters: {}, where: '1', columns: Object.keys(table.columns), order: [] };
  if (random.chance(0.8)) {
    const [condition, where] = makeCondition(random, table, 3);
    found.parameters.where = condition;
    found.where = where;
  }
  const kind = random.pick(['members', 'members', 'members', 'list', 'count', 'plain']);
  if (kind === 'count') found.parameters.count = 'true';
  if (kind === 'list') found.parameters.as = 'list';
  if (kind === 'members' || kind === 'list') {
    const paths = Object.keys(table.columns).filter(() => random.chance(0.25)).slice(0, 4);
    const signed = paths.map((path) => [path, random.chance(0.5)]);
    if (signed.length > 0) {
      found.parameters.order = signed.map(([path, descending]) => `${descending ? '-' : ''}${path}`).join(',');
    }
    found.order = signed.map(([path, descending]) => `${sqlName(path)} ${descending ? 'DESC' : 'ASC'}`);
    if (kind === 'members' || random.chance(0.5)) {
      found.parameters.limit = random.pick([1, 2, 3, 10, 20, 1000]);
    }
    if (random.chance(0.3)) {
      const selected = Object.keys(table.columns).filter(() => random.chance(0.4));
      if (selected.length > 0) {
        found.parameters.select = selected.join(',');
        // What members are ordered by is shown as well.
        found.columns = [...new Set([...selected, ...paths])];
      }
    }
  }
  return { ...found, kind };
}

async function check(resource, database, table, { parameters, where, columns: shown, order, kind }) {
  const answer = await send('GET', `${resource}?${new URLSearchParams(parameters)}`);
  const said = `${JSON.stringify(parameters)}: WHERE ${where} ORDER BY ${[...order, 'name']}`;
  if (answer.status !== 200) return `${said}\n    is ${answer.status} ${answer.text}`;
  const value = JSON.parse(answer.text);
  if (kind === 'count') {
    const [[count]] = database.exec(`SELECT count(*) FROM t WHERE ${where}`)[0].values;
    return value === count ? undefined : `${said}\n    is ${answer.text}, in SQL ${count}`;
  }
  const limit = parameters.limit ? ` LIMIT ${parameters.limit}` : '';
  const rows = database.exec(`SELECT name FROM t WHERE ${where} ORDER BY ${[...order, 'name']}${limit}`);
  const names = (rows[0]?.values ?? []).map(([name]) => name);
  let members = kind === 'list' ? value : Object.entries(value);
  if (kind === 'plain') members = members.sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  const expected = names.map((name) => [name, project(table.rows[name], shown)]);
  if (!isDeepStrictEqual(members, expected)) {
    return `${said}\n    is ${JSON.stringify(members)}\n    in SQL ${JSON.stringify(expected)}`;
  }
}

/** The parts of a member at these paths. An object of which nothing is selected is shown as an empty one. */
function project(member, paths) {
  const shown = {};
  for (const path of paths) {
    const [name, beneath] = path.split('.');
    if (!(name in member)) continue;
    if (beneath === undefined) shown[name] = member[name];
    else {
      shown[name] ??= {};
      if (beneath in member[name]) shown[name][beneath] = member[name][beneath];
    }
  }
  // In the order in which they are in the member, as the server keeps it; comparing does not look at it.
  return shown;
}

function makeCondition(random, table, depth) {
  const kind = depth > 0 ? random.pick(['and', 'or', 'not', 'leaf', 'leaf']) : 'leaf';
  if (kind === 'leaf') return makeLeaf(random, table);
  const [one, oneSql] = makeCondition(random, table, depth - 1);
  if (kind === 'not') return [`!(${one})`, `NOT (${oneSql})`];
  const [other, otherSql] = makeCondition(random, table, depth - 1);
  return kind === 'and'
    ? [`(${one}) && (${other})`, `(${oneSql}) AND (${otherSql})`]
    : [`(${one}) || (${other})`, `(${oneSql}) OR (${otherSql})`];
}

function makeLeaf(random, table) {
  const path = random.pick(Object.keys(table.columns));
  const column = sqlName(path);
  // Beneath what is not there, `has` is an error, and SQL knows no such thing.
  if (!path.includes('.') && random.chance(0.1)) return [`has(${path})`, `${column} IS NOT NULL`];
  if (random.chance(0.1)) {
    const name = random.pick([...Object.keys(table.rows), 'nobody']);
    const sign = random.pick(['==', '!=', '<', '>=']);
    return [`key() ${sign} ${JSON.stringify(name)}`, `name ${sign} ${sqlText(name)}`];
  }
  const type = table.columns[path];
  if (type === 'boolean') {
    return random.pick([
      [path, column],
      [`${path} == false`, `${column} = 0`],
      [`${path} != true`, `${column} <> 1`],
    ]);
  }
  // Values that are there, so that conditions are true of some.
  const values = Object.values(table.rows).map((member) => at(member, path)).filter((value) => value !== undefined);
  const literal = () => {
    if (values.length > 0 && random.chance(0.9)) return random.pick(values);
    return type === 'text' ? makeText(random) : random.between(-3, 3);
  };
  const cel = (value) => (type === 'text' ? JSON.stringify(value) : String(value));
  const sql = (value) => (type === 'text' ? sqlText(value) : String(value));
  if (random.chance(0.2)) {
    const list = [literal(), literal(), literal()];
    return [`${path} in [${list.map(cel)}]`, `${column} IN (${list.map(sql)})`];
  }
  if (type === 'text' && random.chance(0.4)) {
    const part = [...literal()].slice(0, 2).join('') || 'a';
    const length = [...part].length;
    return random.pick([
      [`${path}.startsWith(${cel(part)})`, `substr(${column}, 1, ${length}) = ${sql(part)}`],
      [`${path}.endsWith(${cel(part)})`, `substr(${column}, -${length}) = ${sql(part)}`],
      [`${path}.contains(${cel(part)})`, `instr(${column}, ${sql(part)}) > 0`],
      [`${path}.size() > ${length}`, `length(${column}) > ${length}`],
    ]);
  }
  const sign = random.pick(['==', '!=', '<', '<=', '>', '>=']);
  const value = literal();
  return [`${path} ${sign} ${cel(value)}`, `${column} ${sign} ${sql(value)}`];
}

function generated(random, number) {
  const most = ROWS_MAX[number % 100 === 99 ? 1 : 0];
  const rows = {};
  for (let row = random.between(0, most); row > 0; row -= 1) {
    const member = {};
    for (const [path, type] of Object.entries(columns.generated)) {
      if (random.chance(0.15)) continue;
      const value = {
        // Few different ones, so that many are equal.
        number: () => random.pick([random.between(-3, 3), random.between(-40, 40) / 8, random.between(0, 9) * 1e15]),
        text: () => makeText(random),
        boolean: () => random.chance(0.5),
      }[type]();
      const [name, beneath] = path.split('.');
      if (beneath === undefined) member[name] = value;
      else (member[name] ??= {})[beneath] = value;
    }
    // No name is an array's index, which JavaScript would sort.
    rows[`${random.pick(['r', 'R', 'ä', '😀', '\uffff'])}${random.between(0, most * 3)}`] = member;
  }
  return { rows, text: JSON.stringify(rows), columns: columns.generated };
}

function makeText(random) {
  let text = '';
  for (let length = random.between(0, 3); length > 0; length -= 1) text += random.pick(LETTERS);
  return text;
}

/** Some states of a recording; numbers are as they were written there. */
async function recording(random) {
  const file = process.env.HALFPING_RECORDING;
  if (!file) return [];
  const lines = createInterface({ input: createReadStream(file).pipe(createGunzip()) });
  const [texts, tables] = [{}, []];
  let until = 0;
  for await (const line of lines) {
    const { path } = JSON.parse(line);
    texts[`a${path.split('/').at(-1)}`] = /"value":(.*)\}$/.exec(line)[1];
    if ((until -= 1) > 0) continue;
    until = random.between(500, 3000);
    const text = `{${Object.entries(texts).map(([name, value]) => `${JSON.stringify(name)}:${value}`)}}`;
    const rows = JSON.parse(text);
    // A null is not what is absent is in SQL.
    if (Object.values(rows).every((member) => !Object.values(member).includes(null))) {
      tables.push({ rows, text, columns: columns.aircraft });
    }
  }
  return tables;
}

function load(database, table) {
  const types = { number: 'REAL', text: 'TEXT', boolean: 'INTEGER' };
  const declared = Object.entries(table.columns).map(([path, type]) => `${sqlName(path)} ${types[type]}`);
  database.run(`CREATE TABLE t (name TEXT PRIMARY KEY, ${declared})`);
  const statement = database.prepare(`INSERT INTO t VALUES (?${', ?'.repeat(declared.length)})`);
  database.run('BEGIN');
  for (const [name, member] of Object.entries(table.rows)) {
    const values = Object.keys(table.columns).map((path) => at(member, path) ?? null);
    statement.run([name, ...values.map((value) => (typeof value === 'boolean' ? Number(value) : value))]);
  }
  database.run('COMMIT');
  statement.free();
}

const at = (member, path) => path.split('.').reduce((value, name) => value?.[name], member);
const sqlName = (path) => `"${path}"`;
const sqlText = (text) => `'${text.replaceAll("'", "''")}'`;
