//! Names in their own script, for people to read.

/// What an ASCII name (or a pattern of a list) says in its own script; nothing if that is the same, or not sound.
///
/// Never for comparing, and never shown alone: different names may look alike.
pub fn unicode(text: &str) -> Option<String> {
    let begins = |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    if !text.split('.').any(begins) {
        return None;
    }
    let (mark, name) = match text.strip_prefix("*.").map(|name| ("*.", name)) {
        Some(split) => split,
        None => text.strip_prefix('=').map_or(("", text), |name| ("=", name)),
    };
    let (shown, sound) = idna::domain_to_unicode(name);
    (sound.is_ok() && shown != name && shown.chars().all(|c| c == '.' || c == '-' || c.is_alphanumeric()))
        .then(|| format!("{mark}{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_otherwise_is_told() {
        let told = [
            unicode("xn--90aoahqe0a.xn--p1ai"),
            unicode("*.xn--90aoahqe0a.example"),
            unicode("=xn--90aoahqe0a.example"),
        ];
        assert_eq!(
            told,
            [Some("биткоин.рф".into()), Some("*.биткоин.example".into()), Some("=биткоин.example".into())]
        );
        assert_eq!(
            [unicode("example.com"), unicode("xn--a.example"), unicode("axn--90aoahqe0a.example")],
            [None, None, None]
        );
    }
}
