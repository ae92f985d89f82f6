-- What qalqan's servers report into, in a database of its own: docs/clickhouse.md says what it means and how it is filled.
-- `qalqan ship apply` runs this; statements end with a semicolon at the end of a line. Lines that end with `-- 19.6`
-- are left out for engines before that version, which know no TTL: there, old partitions have to be dropped by hand.

-- Every hit, once. `row` numbers the rows of a batch: (batch, row) is what makes a hit this hit and no other.
CREATE TABLE IF NOT EXISTS hits
(
    day Date,                        -- of `time`, UTC
    time DateTime('UTC'),
    ms UInt16,                       -- milliseconds
    server String,                   -- [stats.clickhouse] instance
    batch String,
    row UInt32,
    client String,                   -- as [stats.clickhouse] clients says; '' is nothing
    who UInt64,                      -- keyed hash of the client, another each day; 0 is nobody
    key String,                      -- fingerprint of the key of `who`: [stats.clickhouse] key_file, or another for each start
    transport String,                -- udp, tcp
    name String,                     -- the name asked for
    target String,                   -- the name in an upstream's answer that matched, if it was another
    type String,                     -- A, AAAA, HTTPS, TYPE65400
    answer String,                   -- sinkhole, nxdomain, nodata, refused, drop, cname, local, truncated, passed
    outcome String,                  -- blocked, shadow, excepted
    rule String,                     -- the pattern that decided, as a `domains` list writes it
    list String,                     -- the list of that rule
    lists Array(String),             -- the other lists with a rule that matched
    orders Array(String),            -- the orders the block rests on
    authorities Array(String),       -- who issued them: the same places as in `orders`
    bases Array(String)              -- the law they rest on, likewise
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (server, batch, row)
TTL day + INTERVAL 90 DAY            -- 19.6
;

-- Hits by the hour and what they count under: sums, and sketches that can be merged. A row with a `batch` is no hits: it
-- says that this batch is counted here already, and stands in the same part as what it says that of.
CREATE TABLE IF NOT EXISTS hits_hour
(
    day Date,
    hour DateTime('UTC'),
    server String,
    key String,
    outcome String,
    rule String,
    list String,
    lists Array(String),
    orders Array(String),
    authorities Array(String),
    bases Array(String),
    batch String,
    hits UInt64,
    unexamined UInt64,               -- hits without `who`, which give no attempt and no client
    clients AggregateFunction(uniqCombined, UInt64),
    attempts AggregateFunction(uniqCombined, UInt64)
)
ENGINE = SummingMergeTree((hits, unexamined))
PARTITION BY toYYYYMM(day)
ORDER BY (batch, hour, outcome, rule, list, lists, orders, authorities, bases, server, key)
TTL day + INTERVAL 400 DAY           -- 19.6
;

-- Totals by the hour.
CREATE VIEW IF NOT EXISTS hits_by_hour AS
SELECT hour, outcome, rule, list, orders, authorities, sum(hits) AS hits,
    uniqCombinedMerge(attempts) AS attempts, uniqCombinedMerge(clients) AS clients
FROM hits_hour
WHERE batch = ''
GROUP BY hour, outcome, rule, list, orders, authorities
;

-- The same for each order; a hit that rests on two orders counts for both.
CREATE VIEW IF NOT EXISTS order_hits_by_hour AS
SELECT hour, order, authority, outcome, rule, list, sum(hits) AS hits,
    uniqCombinedMerge(attempts) AS attempts, uniqCombinedMerge(clients) AS clients
FROM hits_hour
ARRAY JOIN orders AS order, authorities AS authority
WHERE batch = ''
GROUP BY hour, order, authority, outcome, rule, list
;
