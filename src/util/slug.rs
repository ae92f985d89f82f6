//! Names that people chose, as names of folders.

use super::Digest;

/// A list's name as a folder name: what is readable of it, and a hash so that no two share one.
pub fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    let readable: String = name.chars().map(plain).take(40).collect();
    format!("{readable}-{:.16}", Digest::of(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder_and_no_two_share_one() {
        let names = ["orders", "Orders", "../../etc", "", ".", "a/b", "a_b", "тізім", "\0", "-"];
        let slugs: Vec<String> = names.iter().map(|name| slug(name)).collect();
        for (name, slug) in names.iter().zip(&slugs) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            assert!(slug.chars().all(plain) && slug.len() <= 57, "{name:?} became {slug}");
            assert_eq!(slugs.iter().filter(|other| *other == slug).count(), 1, "{name:?} shares {slug}");
        }
        assert_eq!(slug("orders"), "orders-1c168adb00d208e4");
    }
}
