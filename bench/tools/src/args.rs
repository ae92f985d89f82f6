//! `--key value` pairs.

use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

/// Whatever goes wrong here ends the tool with a line of text.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The pairs given.
pub struct Args(HashMap<String, String>);

impl Args {
    /// Pairs from words.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = HashMap::new();
        while let Some(word) = words.next() {
            let key = word.strip_prefix("--").ok_or_else(|| format!("{word}: not a --key"))?;
            let value = words.next().ok_or_else(|| format!("{word}: no value"))?;
            pairs.insert(key.to_owned(), value);
        }
        Ok(Self(pairs))
    }

    /// The value of `key`, or `default`.
    pub fn get<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        match self.0.get(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{key} {text}: cannot be read").into()),
        }
    }

    /// The value of `key`, which must be there.
    pub fn need<T: FromStr>(&self, key: &str) -> Result<T> {
        let text = self.0.get(key).ok_or_else(|| format!("--{key} is needed"))?;
        text.parse().map_err(|_| format!("--{key} {text}: cannot be read").into())
    }
}
