//! What of `[server]` is told to clients.

use std::path::Path;

use super::reader::Table;
use super::sections::optional_path;
use super::values;
use crate::policy::HostSettings;

/// The longest text: none of them is there to make answers large.
const MAX_TEXT: usize = 64;

/// Reads these keys of `[server]`.
pub(super) fn read(table: &mut Table<'_>, folder: &Path) -> HostSettings {
    let cookies = table.flag("cookies", true);
    let require_cookies = table.flag("require_cookies", false);
    let cookie_secret_file = table.text("cookie_secret_file", optional_path(folder)).flatten();
    let line = |text: &str| if text.is_empty() { Ok(String::new()) } else { values::line(text, MAX_TEXT) };
    let mut text = |key| table.text(key, line).unwrap_or_default();
    let (nsid, identity, version) = (text("nsid"), text("identity"), text("version"));
    if require_cookies && !cookies {
        table.problem("`require_cookies` demands what `cookies` = false does not give");
    }
    HostSettings { cookies, require_cookies, cookie_secret_file, nsid, identity, version }
}
