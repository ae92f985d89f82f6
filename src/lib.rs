//! qalqan (Kazakh for "shield"): a DNS-level blocking resolver.
//!
//! It answers the names that an authority has ordered blocked, passes every other query on, and proves what it
//! enforced: for which order, from which line of which list, how often.
//!
//! # Map
//! A module imports only from lower layers; `tests/layers.rs` checks it.
//!
//! | layer | module | in a sentence |
//! |---|---|---|
//! | 0 | [`util`] | snapshot hand-over, time as a value, throttled logging, SHA-256 |
//! | 0 | [`name`] | domain names as lower-case wire bytes, read from what people write |
//! | 1 | [`wire`] | hostile bytes in, answers out, in place |
//! | 1 | [`rule`] | rules, the orders they rest on, and the table of a file's rules |
//! | 1 | [`event`] | the record of a finished query, and who explains it |
//! | 1 | [`net`] | sockets and batches of datagrams; the only `unsafe` |
//! | 1 | [`signature`] | minisign: who published a list, and when |
//! | 1 | [`system`] | signals, systemd |
//! | 2 | [`list`] | list files in every format become rules, or reasons why not |
//! | 2 | [`fetch`] | lists from the web become files in the state folder |
//! | 2 | [`set`] | the compiled lookup structure |
//! | 2 | [`policy`] | what a blocked query gets |
//! | 2 | [`limit`] | who may ask, and whose an address or a door is |
//! | 2 | [`cache`] | answers of upstreams as wire bytes |
//! | 2 | [`upstream`] | who is asked for everything that is not blocked |
//! | 2 | [`local`] | names answered here and never forwarded |
//! | 2 | [`stats`] | exact counters; hits, attempts and clients for reports |
//! | 2 | [`hits`] | hits on their way to the log, the counts and streams |
//! | 2 | [`stream`] | hits as they come, for collectors and SIEMs |
//! | 2 | [`audit`] | the hash-chained log of what was decided, when and by whom |
//! | 2 | [`history`] | every accepted version of every list |
//! | 3 | [`gate`] | the checks between a freshly read list and the snapshot |
//! | 3 | [`snapshot`] | what one decision needs, swapped together |
//! | 3 | [`ship`] | hits of a fleet in ClickHouse |
//! | 3 | [`store`] | statistics on disk: SQLite |
//! | 4 | [`engine`] | the decision, and resolving what it lets pass |
//! | 5 | [`serve`] | listeners: UDP workers, TCP connections |
//! | 5 | [`admin`] | the control socket: what operators ask a running server; figures and health over HTTP |
//! | 6 | [`config`] | the configuration file |
//! | 7 | [`reload`] | watch, read, publish; last good kept |
//! | 8 | [`app`] | composition |
//! | 9 | [`cli`] | verbs |
//!
//! # A query
//! [`serve`] takes a batch of datagrams ([`net::Batch`]) and one [`snapshot::Snapshot`] for all of it. For each,
//! [`engine::Decider::decide`] parses in place ([`wire::parse`]), asks the set ([`set::Set::matches`]), and writes
//! the answer ([`policy::respond`]) into the batch that goes out. What is not blocked is answered from [`cache`],
//! unless a rule knows a name the answer leads to, or else goes over a bounded channel to
//! [`engine::Engine::resolve`], which asks [`local`], the cache again or [`upstream`], decides again about the names
//! in the answer, and sends it through the same socket. A hit is counted ([`stats`]) and goes over a ring to [`hits`];
//! what the tally there makes of it is kept by [`store`].
//!
//! # A reload
//! A list from the web is a file that [`fetch`] writes. [`reload`] hears of a change, waits until it is quiet, reads what
//! changed ([`list`]), holds back what is more likely a mistake ([`gate`]), compiles a new snapshot
//! aside and publishes it ([`util::Handover`]). Readers see the old one or the new one, never a mix. What cannot
//! be read or is refused stays as it was last good.
//!
//! # Words
//! | word | meaning |
//! |---|---|
//! | list | a source of rules: a file, a folder or a URL, with one format, one role (`block` / `allow`) and one mode (`enforce` / `shadow`) |
//! | rule | what one line or record of a list means: a pattern, an effect, an origin (list, line), and the orders it rests on |
//! | order | the legal instrument behind a block: id, authority, legal basis, dates; the block lifts when the last one in force ends |
//! | set | the compiled, immutable lookup structure of all rules |
//! | policy | which sets apply to which client, and what is answered |
//! | answer | what a blocked query gets: sinkhole, nxdomain, nodata, refused, drop, cname |
//! | snapshot | set + policy + generation, swapped as one object |
//! | gate | the checks between a freshly read list and the snapshot |
//! | held | an entry the gate did not let pass: not enforced, shown with its reason until the operator releases or dismisses it |
//! | hit | one query that matched a rule; it is counted exactly and logged |
//! | shadow | a list whose hits are counted but whose queries are answered as if it weren't there |
//! | canary | clients that get a list's new version first; while they do, it is on trial |

pub mod admin;
pub mod app;
pub mod audit;
pub mod cache;
pub mod cli;
pub mod config;
pub mod engine;
pub mod event;
pub mod fetch;
pub mod gate;
pub mod history;
pub mod hits;
pub mod limit;
pub mod list;
pub mod local;
pub mod name;
pub mod net;
pub mod policy;
pub mod reload;
pub mod rule;
pub mod serve;
pub mod set;
pub mod ship;
pub mod signature;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod stream;
pub mod system;
pub mod upstream;
pub mod util;
pub mod wire;
