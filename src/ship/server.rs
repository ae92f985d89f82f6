//! What is said to ClickHouse, so that a batch counts once however often it is sent.
//!
//! An answer may be lost after the work was done, and a request may lie in a stuck server and be carried out long after
//! it was given up here. So no statement may do harm a second time, whenever that comes. Neither tokens for
//! deduplication nor atomic inserts into several tables can be had of every engine, so it is done with what all have:
//!
//! 1. The rows go into a temporary table of a session of this try, which nobody else sees.
//! 2. From there into `hits` go those rows that `hits` has not got, and only if all have come through whole.
//! 3. From `hits` their sums go into `hits_hour`, together with a row that says that the batch is counted there, if
//!    there is none yet and `hits` has the whole batch. Sums and that row are one part of one partition: there or not.
//! 4. The batch has arrived when that row can be read. Whatever went wrong before, all is tried again.
//!
//! Statements 2 and 3 carry ids made of the batch's, and a server refuses a query while another with the same id runs,
//! so that what they look at cannot change under them. Materialized views would see what was inserted once, but a server
//! that fails between a table and its view leaves them different for ever; statement 3 does the same work and can be
//! repeated. All this takes one server: behind something that spreads requests, sessions are not found, and nothing is
//! inserted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ServerSettings;
use super::batch::Stored;
use super::ddl::{Engine, statements};
use super::row::COLUMNS;
use crate::fetch::{Coding, FetchError, PostError, Poster, Reply, secret};

/// The most of an answer to a statement that is read.
const MAX_ANSWER: u64 = 64 << 10;
/// The most of an error that is shown.
const MAX_SHOWN: usize = 300;
/// The server does not know such a table, or database, or temporary table of this session.
const UNKNOWN_TABLE: u32 = 60;
const UNKNOWN_DATABASE: u32 = 81;
/// Another query with this id runs.
const ALREADY_RUNNING: u32 = 216;
/// Codes for rows that cannot be read, which another try will not change. Their texts quote the rows, so they are not shown.
const UNREADABLE: [u32; 9] = [6, 27, 32, 33, 38, 72, 117, 354, 561];
/// Codes about who we are, 18.16's and later ones.
const WHO: [u32; 4] = [192, 193, 194, 516];

/// The client's side of one ClickHouse.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    /// Made anew after each failure, so that renewed files are read.
    poster: Option<Poster>,
}

impl Server {
    /// Nobody is asked yet.
    pub fn new(settings: ServerSettings) -> Self {
        Self { settings, poster: None }
    }

    /// Sends a batch, for the first time or again.
    pub(super) fn ship(&mut self, batch: &Stored) -> Result<(), ShipError> {
        static TRIES: AtomicU64 = AtomicU64::new(0);
        let header = &batch.header;
        let (id, day, rows) = (&*header.id, &*header.day, header.rows);
        let own = TRIES.fetch_add(1, Ordering::Relaxed);
        let session = format!("qalqan-{id}-{}-{own}", std::process::id());
        let session = [("session_id", session.as_str())];
        self.run(&format!("CREATE TEMPORARY TABLE arriving ({COLUMNS})"), &session)?;
        let insert = [session[0], ("query", "INSERT INTO arriving FORMAT RowBinary")];
        self.post(&insert, &batch.body, header.coding(), MAX_ANSWER)?;
        self.run(&take_rows(batch), &[session[0], ("query_id", id)])?;
        self.run(&count_rows(batch), &[session[0], ("query_id", &format!("{id}-hour"))])?;
        let counted =
            format!("SELECT sum(hits) FROM hits_hour WHERE day = '{day}' AND batch = '{id}' FORMAT TabSeparated");
        let counted = self.run(&counted, &[])?;
        let counted = str::from_utf8(&counted).ok().and_then(|text| text.trim().parse::<u64>().ok());
        // The session would forget it by itself, but a minute later; and a server that has a spool to send is in a hurry.
        let _ = self.run("DROP TEMPORARY TABLE arriving", &session);
        if counted == Some(rows.into()) { Ok(()) } else { Err(ShipError::Unconfirmed { rows, counted }) }
    }

    /// The engine and its version.
    ///
    /// # Errors
    /// It cannot be asked, or is no ClickHouse.
    pub fn engine(&mut self) -> Result<(Engine, String), ShipError> {
        let body =
            self.post(&[("query", "SELECT version() FORMAT TabSeparated")], b"", Coding::Identity, MAX_ANSWER)?;
        let version = String::from_utf8_lossy(&body).trim().to_owned();
        match Engine::of(&version) {
            Some(engine) => Ok((engine, version)),
            None => Err(ShipError::NotClickHouse),
        }
    }

    /// Makes the database and the tables that are not there yet.
    ///
    /// # Errors
    /// As soon as one cannot be made.
    pub fn apply(&mut self) -> Result<String, ShipError> {
        let (engine, version) = self.engine()?;
        let database = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&self.settings.database));
        self.post(&[("query", &database)], b"", Coding::Identity, MAX_ANSWER)?;
        for statement in statements(engine) {
            self.run(&statement, &[])?;
        }
        Ok(version)
    }

    /// Runs one statement in the database and gives what it printed, of at most `limit` bytes.
    ///
    /// # Errors
    /// It cannot be asked, or refuses.
    pub fn ask(&mut self, statement: &str, limit: u64) -> Result<Vec<u8>, ShipError> {
        let database = self.settings.database.clone();
        self.post(&[("database", &database)], statement.as_bytes(), Coding::Identity, limit)
    }

    /// The same with more parameters and a short answer.
    fn run(&mut self, statement: &str, params: &[(&str, &str)]) -> Result<Vec<u8>, ShipError> {
        let database = self.settings.database.clone();
        let params = [params, &[("database", &database)]].concat();
        self.post(&params, statement.as_bytes(), Coding::Identity, MAX_ANSWER)
    }

    /// One request; anything but a good answer is an error.
    fn post(&mut self, params: &[(&str, &str)], body: &[u8], coding: Coding, limit: u64) -> Result<Vec<u8>, ShipError> {
        let poster = match self.poster.take() {
            Some(poster) => poster,
            None => self.connect()?,
        };
        // Without this an error may come after a good status.
        let params = [params, &[("wait_end_of_query", "1")]].concat();
        let Reply { status, body } = poster.post(&params, body, coding, limit).map_err(ShipError::Post)?;
        if status == 200 {
            self.poster = Some(poster);
            return Ok(body);
        }
        Err(ShipError::refused(status, &body))
    }

    /// Reads the files the settings name.
    fn connect(&self) -> Result<Poster, ShipError> {
        let ServerSettings { address, user, password_file, ca_file, timeout, .. } = &self.settings;
        let mut headers = vec![("X-ClickHouse-User", user.to_string())];
        if let Some(path) = password_file {
            headers.push(("X-ClickHouse-Key", secret("password_file", path).map_err(ShipError::File)?));
        }
        Poster::new(address, ca_file.as_deref(), *timeout, headers).map_err(ShipError::Post)
    }
}

/// Statement 2. Its literals hold nothing that ends one: [`super::batch::Header`] sees to it.
fn take_rows(batch: &Stored) -> String {
    let header = &batch.header;
    let (id, day, server, key, rows) = (&header.id, &header.day, &header.server, &header.key, header.rows);
    format!(
        "INSERT INTO hits (day, time, ms, server, batch, row, client, who, key, transport, name, target, type, answer, \
         outcome, rule, list, lists, orders, authorities, bases) \
         SELECT toDate('{day}'), time, ms, '{server}', '{id}', row, client, who, '{key}', transport, name, target, type, \
         answer, outcome, rule, list, lists, orders, authorities, bases \
         FROM arriving \
         WHERE (SELECT count() FROM arriving) = {rows} \
         AND row NOT IN (SELECT row FROM hits WHERE day = '{day}' AND server = '{server}' AND batch = '{id}')"
    )
}

/// Statement 3: each row is looked at twice, once for its sum and once for the row that says the batch is counted.
fn count_rows(batch: &Stored) -> String {
    let header = &batch.header;
    let (id, day, server, rows, window) = (&header.id, &header.day, &header.server, header.rows, header.window);
    let these = format!("FROM hits WHERE day = '{day}' AND server = '{server}' AND batch = '{id}'");
    format!(
        "INSERT INTO hits_hour (day, hour, server, key, outcome, rule, list, lists, orders, authorities, bases, batch, \
         hits, unexamined, clients, attempts) \
         SELECT day, toStartOfHour(if(mark, toDateTime(day), time)) AS h, server, key, if(mark, '', outcome) AS o, \
         if(mark, '', rule) AS r, if(mark, '', list) AS l, if(mark, emptyArrayString(), lists) AS ls, \
         if(mark, emptyArrayString(), orders) AS os, if(mark, emptyArrayString(), authorities) AS au, \
         if(mark, emptyArrayString(), bases) AS ba, if(mark, batch, '') AS b, count() AS n, \
         countIf(who = 0 AND NOT mark) AS u, \
         uniqCombinedStateIf(who, who != 0 AND NOT mark) AS c, \
         uniqCombinedStateIf(cityHash64(who, rule, intDiv(toUInt32(time), {window})), who != 0 AND NOT mark) AS a \
         FROM (SELECT *, arrayJoin([0, 1]) AS mark {these}) \
         WHERE (SELECT count() {these}) = {rows} \
         AND (SELECT count() FROM hits_hour WHERE day = '{day}' AND batch = '{id}') = 0 \
         GROUP BY day, h, server, key, o, r, l, ls, os, au, ba, b"
    )
}

/// A database's name as an identifier; it holds no backtick.
fn quoted(name: &str) -> String {
    format!("`{name}`")
}

/// Why a batch has not arrived, or a question was not answered.
#[derive(Debug)]
pub enum ShipError {
    /// A file named in the configuration cannot be used.
    File(FetchError),
    /// No whole answer.
    Post(PostError),
    /// The server said no.
    Refused {
        /// The status code.
        status: u16,
        /// ClickHouse's own code, if it gave one.
        code: Option<u32>,
        /// What it said, if that may be shown.
        text: String,
    },
    /// All went well, and yet the batch is not counted.
    Unconfirmed {
        /// As it should be.
        rows: u32,
        /// As it is.
        counted: Option<u64>,
    },
    /// Something else answers there.
    NotClickHouse,
}

impl ShipError {
    /// From what came with another status than 200.
    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let digits = text.split_once("Code: ").map(|(_, rest)| rest);
        let code = digits.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        let quotes_rows = code.is_some_and(|code| UNREADABLE.contains(&code));
        let shown = text.chars().filter(|c| !c.is_control()).take(if quotes_rows { 0 } else { MAX_SHOWN }).collect();
        Self::Refused { status, code, text: shown }
    }

    /// Another try with the same rows is unlikely to end better.
    pub(super) fn is_about_the_rows(&self) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if UNREADABLE.contains(code))
    }
}

impl fmt::Display for ShipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Post(error) => error.fmt(f),
            Self::Refused { code: Some(UNKNOWN_TABLE | UNKNOWN_DATABASE), text, .. } => write!(
                f,
                "the tables are not there, or requests are spread over several servers ({text}); run `qalqan ship apply` \
                 once, and let `url` lead to one server"
            ),
            Self::Refused { code: Some(ALREADY_RUNNING), .. } => {
                f.write_str("the server is still busy with an earlier try; it is asked again")
            }
            Self::Refused { code: Some(code), text, .. } if WHO.contains(code) => {
                write!(f, "the server does not know us ({text}); check `user` and `password_file`")
            }
            Self::Refused { code: Some(89), text, .. } => {
                write!(f, "{text}; this version does not take this `compression`, set it to \"gzip\"")
            }
            Self::Refused { code: Some(code), .. } if UNREADABLE.contains(code) => {
                write!(f, "the server cannot read the rows (code {code}); are its tables of another version?")
            }
            Self::Refused { status, text, .. } => write!(f, "the server answered {status}: {text}"),
            Self::Unconfirmed { rows, counted: Some(counted) } => write!(
                f,
                "{counted} of {rows} rows are counted there; is the query id or the session of a try changed on the way?"
            ),
            Self::Unconfirmed { .. } | Self::NotClickHouse => f.write_str("this is not ClickHouse; check `url`"),
        }
    }
}

impl std::error::Error for ShipError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Post(error) => Some(error),
            Self::Refused { .. } | Self::Unconfirmed { .. } | Self::NotClickHouse => None,
        }
    }
}
