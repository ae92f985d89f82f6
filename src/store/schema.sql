-- The store of statistics, version 1. Times: `minute`, `hour`: since 1970, UTC; `day`: days since 1970 in the time zone of [stats].
-- Tables hold numbers in a compact way; read the views, they are what docs/statistics.md promises.

-- What is known of the whole: created (RFC 3339), time_zone, threshold, software.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- When a server counted: from its start to when it last wrote (seconds since 1970). Between two there was none.
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  started INTEGER NOT NULL,
  seen INTEGER NOT NULL,
  software TEXT NOT NULL
);

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  number TEXT NOT NULL,
  authority TEXT NOT NULL,
  legal_basis TEXT NOT NULL,
  UNIQUE (number, authority)
);

-- What hits are counted under. The digest is of all that tells two apart; `seen` is the last day with a hit.
CREATE TABLE subject (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  outcome TEXT NOT NULL,
  rule TEXT NOT NULL,
  list TEXT NOT NULL,
  seen INTEGER NOT NULL
);

-- The list that decided and all others that matched.
CREATE TABLE subject_list (
  subject INTEGER NOT NULL,
  list TEXT NOT NULL,
  PRIMARY KEY (subject, list)
) WITHOUT ROWID;

CREATE TABLE subject_order (
  subject INTEGER NOT NULL,
  orders INTEGER NOT NULL,
  PRIMARY KEY (subject, orders)
) WITHOUT ROWID;
CREATE INDEX order_subject ON subject_order (orders, subject);

-- Appended every second, folded into the three below every minute.
CREATE TABLE pending (
  subject INTEGER NOT NULL,
  minute INTEGER NOT NULL,
  day INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  unexamined INTEGER NOT NULL
);

CREATE TABLE minute (
  at INTEGER NOT NULL,
  subject INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  unexamined INTEGER NOT NULL,
  PRIMARY KEY (at, subject)
) WITHOUT ROWID;

-- Six hours a row, as a row an hour would take twice the room: `block` is the hour divided by six.
CREATE TABLE hour_block (
  block INTEGER NOT NULL,
  subject INTEGER NOT NULL,
  hits0 INTEGER NOT NULL, attempts0 INTEGER NOT NULL,
  hits1 INTEGER NOT NULL, attempts1 INTEGER NOT NULL,
  hits2 INTEGER NOT NULL, attempts2 INTEGER NOT NULL,
  hits3 INTEGER NOT NULL, attempts3 INTEGER NOT NULL,
  hits4 INTEGER NOT NULL, attempts4 INTEGER NOT NULL,
  hits5 INTEGER NOT NULL, attempts5 INTEGER NOT NULL,
  PRIMARY KEY (block, subject)
) WITHOUT ROWID;

-- Hits of an hour that gave no attempt and no client; there hardly are any.
CREATE TABLE hour_unexamined (
  at INTEGER NOT NULL,
  subject INTEGER NOT NULL,
  unexamined INTEGER NOT NULL,
  PRIMARY KEY (at, subject)
) WITHOUT ROWID;

CREATE TABLE day (
  at INTEGER NOT NULL,
  subject INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  unexamined INTEGER NOT NULL,
  PRIMARY KEY (at, subject)
) WITHOUT ROWID;

-- The same hits by how they were asked and answered.
CREATE TABLE kind_hour (
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  type TEXT NOT NULL,
  answer TEXT NOT NULL,
  transport TEXT NOT NULL,
  hits INTEGER NOT NULL,
  PRIMARY KEY (at, outcome, type, answer, transport)
) WITHOUT ROWID;

CREATE TABLE kind_day (
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  type TEXT NOT NULL,
  answer TEXT NOT NULL,
  transport TEXT NOT NULL,
  hits INTEGER NOT NULL,
  PRIMARY KEY (at, outcome, type, answer, transport)
) WITHOUT ROWID;

-- All queries by what happened to them; the metrics are the counters of `counters.json`.
CREATE TABLE total_minute (
  at INTEGER NOT NULL,
  metric TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (at, metric)
) WITHOUT ROWID;

CREATE TABLE total_hour (
  at INTEGER NOT NULL,
  metric TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (at, metric)
) WITHOUT ROWID;

CREATE TABLE total_day (
  at INTEGER NOT NULL,
  metric TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (at, metric)
) WITHOUT ROWID;

-- Whose clients are counted: `of` is all, rule, list or order; `authority` belongs to an order's number in `key`.
CREATE TABLE counted (
  id INTEGER PRIMARY KEY,
  of TEXT NOT NULL,
  key TEXT NOT NULL,
  authority TEXT NOT NULL,
  UNIQUE (of, key, authority)
);

CREATE TABLE sketch (
  day INTEGER NOT NULL,
  counted INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  estimate INTEGER NOT NULL,
  PRIMARY KEY (day, counted, segment)
) WITHOUT ROWID;

-- Numbers of what is stored and what is not folded yet: an hour's hits may come in several rows, which add up.
CREATE VIEW minute_all (at, subject, hits, attempts, unexamined) AS
  SELECT at, subject, hits, attempts, unexamined FROM minute
  UNION ALL SELECT minute, subject, hits, attempts, unexamined FROM pending;

-- `block` is there to be asked for beside `at`, as only it is found at once: WHERE block BETWEEN x / 6 AND y / 6 AND at BETWEEN x AND y.
CREATE VIEW hour_all (at, block, subject, hits, attempts, unexamined) AS
  SELECT block * 6, block, subject, hits0, attempts0, 0 FROM hour_block WHERE hits0 > 0
  UNION ALL SELECT block * 6 + 1, block, subject, hits1, attempts1, 0 FROM hour_block WHERE hits1 > 0
  UNION ALL SELECT block * 6 + 2, block, subject, hits2, attempts2, 0 FROM hour_block WHERE hits2 > 0
  UNION ALL SELECT block * 6 + 3, block, subject, hits3, attempts3, 0 FROM hour_block WHERE hits3 > 0
  UNION ALL SELECT block * 6 + 4, block, subject, hits4, attempts4, 0 FROM hour_block WHERE hits4 > 0
  UNION ALL SELECT block * 6 + 5, block, subject, hits5, attempts5, 0 FROM hour_block WHERE hits5 > 0
  UNION ALL SELECT at, at / 6, subject, 0, 0, unexamined FROM hour_unexamined
  UNION ALL SELECT minute / 60, minute / 360, subject, hits, attempts, unexamined FROM pending;

CREATE VIEW day_all (at, subject, hits, attempts, unexamined) AS
  SELECT at, subject, hits, attempts, unexamined FROM day
  UNION ALL SELECT day, subject, hits, attempts, unexamined FROM pending;

-- For people.
CREATE VIEW hits_by_minute AS
  SELECT strftime('%Y-%m-%dT%H:%MZ', a.at * 60, 'unixepoch') AS time, s.rule, s.list, s.outcome, a.hits, a.attempts, a.unexamined, a.at
  FROM minute_all AS a JOIN subject AS s ON s.id = a.subject;

CREATE VIEW hits_by_hour AS
  SELECT strftime('%Y-%m-%dT%H:00Z', a.at * 3600, 'unixepoch') AS time, s.rule, s.list, s.outcome, a.hits, a.attempts, a.unexamined, a.at, a.block
  FROM hour_all AS a JOIN subject AS s ON s.id = a.subject;

CREATE VIEW hits_by_day AS
  SELECT date(a.at * 86400, 'unixepoch') AS day, s.rule, s.list, s.outcome, a.hits, a.attempts, a.unexamined, a.at
  FROM day_all AS a JOIN subject AS s ON s.id = a.subject;

-- A hit of a name that rests on two orders stands here under both.
CREATE VIEW order_hits_by_hour AS
  SELECT strftime('%Y-%m-%dT%H:00Z', a.at * 3600, 'unixepoch') AS time, o.number, o.authority, o.legal_basis, s.rule, s.list, s.outcome,
    a.hits, a.attempts, a.unexamined, a.at, a.block
  FROM hour_all AS a JOIN subject AS s ON s.id = a.subject
    JOIN subject_order AS so ON so.subject = a.subject JOIN orders AS o ON o.id = so.orders;

CREATE VIEW order_hits_by_day AS
  SELECT date(a.at * 86400, 'unixepoch') AS day, o.number, o.authority, o.legal_basis, s.rule, s.list, s.outcome,
    a.hits, a.attempts, a.unexamined, a.at
  FROM day_all AS a JOIN subject AS s ON s.id = a.subject
    JOIN subject_order AS so ON so.subject = a.subject JOIN orders AS o ON o.id = so.orders;

-- The truth lies between low and high: sketches of one day that were made after a restart cannot be joined. What is below
-- meta's threshold is not to be shown exactly.
CREATE VIEW clients_by_day AS
  SELECT date(k.day * 86400, 'unixepoch') AS day, c.of, c.key, c.authority, max(k.estimate) AS low, sum(k.estimate) AS high, k.day AS at
  FROM sketch AS k JOIN counted AS c ON c.id = k.counted
  GROUP BY k.day, k.counted;

CREATE VIEW kinds_by_hour AS
  SELECT strftime('%Y-%m-%dT%H:00Z', at * 3600, 'unixepoch') AS time, outcome, type, answer, transport, hits, at FROM kind_hour;

CREATE VIEW kinds_by_day AS
  SELECT date(at * 86400, 'unixepoch') AS day, outcome, type, answer, transport, hits, at FROM kind_day;

CREATE VIEW queries_by_minute AS
  SELECT strftime('%Y-%m-%dT%H:%MZ', at * 60, 'unixepoch') AS time, metric, value, at FROM total_minute;

CREATE VIEW queries_by_hour AS
  SELECT strftime('%Y-%m-%dT%H:00Z', at * 3600, 'unixepoch') AS time, metric, value, at FROM total_hour;

CREATE VIEW queries_by_day AS
  SELECT date(at * 86400, 'unixepoch') AS day, metric, value, at FROM total_day;
