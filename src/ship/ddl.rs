//! The tables, as they stand in docs/clickhouse/schema.sql.

/// The file; also what `qalqan ship ddl` prints.
const SCHEMA: &str = include_str!("../../docs/clickhouse/schema.sql");
/// Ends lines that are only for engines that know TTL.
const SINCE_TTL: &str = "-- 19.6";

/// What the other side can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// 19.6 and later: tables forget by themselves.
    WithTtl,
    /// Before: old partitions have to be dropped by somebody.
    WithoutTtl,
}

impl Engine {
    /// From what `SELECT version()` says; `None` if that is no version.
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.trim().split('.').map(str::parse::<u32>);
        let version = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(if version >= (19, 6) { Self::WithTtl } else { Self::WithoutTtl })
    }
}

/// The statements that make all tables, each by itself.
pub fn statements(engine: Engine) -> Vec<String> {
    let mut statements = vec![String::new()];
    for line in SCHEMA.lines() {
        if engine == Engine::WithoutTtl && line.ends_with(SINCE_TTL) {
            continue;
        }
        let code = line.split_once("--").map_or(line, |(code, _)| code).trim_end();
        if code == ";" {
            statements.push(String::new());
        } else if let Some(last) = statements.last_mut().filter(|_| !code.is_empty()) {
            last.push_str(code);
            last.push('\n');
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

#[cfg(test)]
mod tests {
    use super::super::row::COLUMNS;
    use super::*;

    #[test]
    fn every_statement_makes_one_thing_and_may_be_run_again() {
        let new = statements(Engine::WithTtl);
        assert_eq!(new.len(), 4);
        for statement in &new {
            assert!(statement.starts_with("CREATE ") && statement.contains(" IF NOT EXISTS "), "{statement}");
        }
        assert_eq!(new.iter().filter(|statement| statement.contains("\nTTL ")).count(), 2);
        assert!(statements(Engine::WithoutTtl).iter().all(|statement| !statement.contains("TTL")));
    }

    #[test]
    fn what_is_sent_are_columns_of_the_table() {
        let hits = &statements(Engine::WithTtl)[0];
        for column in COLUMNS.split(", ").map(|column| column.replace("DateTime", "DateTime('UTC')")) {
            assert!(hits.contains(&format!("    {column}")), "{column} in {hits}");
        }
    }

    #[test]
    fn versions_are_two_numbers_and_more() {
        for (text, engine) in [("18.16.1", Engine::WithoutTtl), ("19.5.3.8\n", Engine::WithoutTtl)] {
            assert_eq!(Engine::of(text), Some(engine), "{text}");
        }
        for text in ["19.6.1.1", "20.1", "26.9.2.1"] {
            assert_eq!(Engine::of(text), Some(Engine::WithTtl), "{text}");
        }
        for text in ["", "18", "nginx/1.2", "<html>"] {
            assert_eq!(Engine::of(text), None, "{text}");
        }
    }
}
