//! Guessing what was meant by a word that is not known.

/// How many characters of a word are compared.
const MAX_COMPARED: usize = 60;

/// The one of `words` that `found` is a typing error away from, if there is one near enough.
pub fn nearest<'w>(found: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let near = words.map(|word| (distance(found, word), word)).min();
    near.filter(|(distance, word)| *distance <= 1 + word.len() / 4).map(|(_, word)| word)
}

/// Typing errors between two short words: letters changed, left out, put in or swapped with the next one.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.chars().take(MAX_COMPARED).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_counted() {
        let counted = [("lsiten", "listen"), ("", "abc"), ("kitten", "sitting")].map(|(a, b)| distance(a, b));
        assert_eq!(counted, [1, 3, 3]);
    }

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        let orders = ["25-01-25/4", "25-01-26/4", "7"];
        let near = |found| nearest(found, orders.into_iter());
        assert_eq!(
            [near("25-01-25/5"), near("25-1-25/4"), near("8")],
            [Some("25-01-25/4"), Some("25-01-25/4"), Some("7")]
        );
        assert_eq!([near("something else"), near("")], [None, Some("7")]);
        assert_eq!(nearest("a", [].into_iter()), None);
    }
}
