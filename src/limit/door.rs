//! Through which door a client came: what of a DoH path or a TLS server name tells its clients apart.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

/// The longest name of a door: a label of a host name.
pub const MAX_DOOR: usize = 63;
/// The most doors of one process: all that were ever configured, as a number once given stays.
const MAX_DOORS: usize = u16::MAX as usize;

/// One of [`Doors`], or none. A number means the same as long as the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Door(u16);

impl Door {
    /// Its number; 0 is that of no door.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// The doors that the configuration names (`via` of `[[clients]]`), now or before a reload.
#[derive(Debug, Default)]
pub struct Doors {
    known: RwLock<HashMap<Box<str>, Door>>,
}

/// A text that cannot name a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADoor;

impl fmt::Display for NotADoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a label of a host name: 1 to {MAX_DOOR} letters, digits, hyphens and underscores")
    }
}

impl std::error::Error for NotADoor {}

impl Doors {
    /// The door of this name, which is the last segment of a DoH path or the first label of a TLS server name; no door
    /// if the configuration does not name it. Nothing is remembered of what clients send, and nothing allocated.
    pub fn find(&self, name: &str) -> Door {
        let mut lower = [0; MAX_DOOR];
        let Some(lower) = lower.get_mut(..name.len()) else { return Door::default() };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let Ok(lower) = std::str::from_utf8(lower) else { return Door::default() };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(lower).copied().unwrap_or_default()
    }

    /// The door that the configuration calls so, which clients are known by from now on. Without a number left it is
    /// none, as for a name that [`door_name`] does not give.
    pub fn open(&self, name: &str) -> Door {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let next = known.len() + 1;
        match known.get(name) {
            Some(&door) => door,
            None if next <= MAX_DOORS && door_name(name).as_deref() == Ok(name) => {
                // It fits, by the line above.
                let door = Door(u16::try_from(next).unwrap_or_default());
                known.insert(name.into(), door);
                door
            }
            None => Door::default(),
        }
    }
}

/// The name of a door as it is compared: in lower case.
///
/// # Errors
/// It could not stand in a server name.
pub fn door_name(text: &str) -> Result<String, NotADoor> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=MAX_DOOR).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(NotADoor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_found_by_configured_names_only_and_keep_their_numbers() {
        let doors = Doors::default();
        assert_eq!(doors.find("kids"), Door::default());
        let kids = doors.open("kids");
        let guests = doors.open("guests");
        assert_eq!((kids.number(), guests.number()), (1, 2));
        assert_eq!(doors.open("kids"), kids, "as after a reload");
        assert_eq!((doors.find("KIDS"), doors.find("guests")), (kids, guests));
        for unknown in ["", "kid", "kidss", "kids ", "кids", &"k".repeat(64), &"k".repeat(100_000)] {
            assert_eq!(doors.find(unknown), Door::default(), "{unknown:.20}");
        }
        assert_eq!(doors.known.read().expect("not poisoned").len(), 2);
    }

    #[test]
    fn a_door_is_a_label_in_lower_case() {
        assert_eq!(door_name("Kids-2_a"), Ok("kids-2_a".into()));
        for text in ["", "a.b", "a/b", "a b", "ключ", &"k".repeat(64)] {
            assert_eq!(door_name(text), Err(NotADoor), "{text}");
            assert_eq!(Doors::default().open(text), Door::default(), "{text}");
        }
    }

    #[test]
    fn there_are_never_more_doors_than_numbers() {
        let doors = Doors::default();
        for number in 1..=MAX_DOORS {
            assert_eq!(doors.open(&format!("d{number}")).number(), number);
        }
        assert_eq!(doors.open("one-more"), Door::default());
        assert_eq!(doors.find("d65535").number(), MAX_DOORS);
    }
}
