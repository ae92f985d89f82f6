//! Files of address blocks: read whole, kept while they cannot be read, and whose they are.

use std::fs;
use std::path::Path;

use super::*;
use crate::config;

/// Settings with two groups: one of a file and a block of its own, and one of blocks and a file.
fn settings(folder: &Path, more: &str) -> Settings {
    let text = format!(
        "[[clients]]\nname = \"kids\"\nfrom = [\"10.9.0.0/16\"]\nfrom_file = \"kids.txt\"\n\
         [[clients]]\nname = \"guests\"\nfrom_file = \"guests.txt\"\nexempt = true\n{more}"
    );
    config::parse(&text, &folder.join("config.toml")).expect("good")
}

/// The number of the group of an address.
fn of(belonging: &Belonging, address: &str) -> u16 {
    belonging.prefixes.find(address.parse().expect("an address"))
}

#[test]
fn blocks_of_files_and_of_the_configuration_are_one_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kids, guests) = (folder.path().join("kids.txt"), folder.path().join("guests.txt"));
    fs::write(&kids, "\u{feff}# kids\r\n10.1.0.0/16\r\n  2001:db8:1::/48 # a house\n\n10.1.0.0/16\n192.0.2.7")
        .expect("written");
    fs::write(&guests, "10.1.2.0/24\n::ffff:10.3.0.0/112\n").expect("written");
    let settings = settings(folder.path(), "");
    let mut clientele = Clientele::default();
    let first = clientele.look(&settings, false);
    assert_eq!((&first.errors, &first.troubles), (&Vec::new(), &Vec::new()));
    assert_eq!(first.blocks, [4, 2], "each once");
    let text = "10.1.0.0/16\n10.9.0.0/16\n192.0.2.7/32\n2001:db8:1::/48\n";
    assert_eq!(first.digests[0], Digest::of(text.as_bytes()), "as docs/audit.md says");
    let all = ["10.9.1.1", "10.1.1.1", "2001:db8:1::5", "192.0.2.7", "10.1.2.9", "10.3.9.9", "10.2.0.1", "::1"];
    assert_eq!(all.map(|address| of(&first, address)), [1, 1, 1, 1, 2, 2, 0, 0], "the longest counts");
    assert!(Arc::ptr_eq(&first, &clientele.look(&settings, true)), "the same says the same");
    // A prefix moves.
    fs::write(&kids, "10.1.2.0/25\n").expect("written");
    fs::write(&guests, "10.1.0.0/16\n").expect("written");
    let moved = clientele.look(&settings, true);
    assert_eq!(["10.1.2.9", "10.1.2.129", "192.0.2.7"].map(|address| of(&moved, address)), [1, 2, 0]);
}

#[test]
fn what_cannot_be_read_stays_as_it_was_and_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kids, guests) = (folder.path().join("kids.txt"), folder.path().join("guests.txt"));
    let settings = settings(folder.path(), "");
    fs::write(&guests, "10.3.0.0/16\n").expect("written");
    let mut clientele = Clientele::default();
    let none = clientele.look(&settings, false);
    assert!(none.errors[0].starts_with("cannot use from_file kids.txt of the clients \"kids\": "), "{:?}", none.errors);
    assert!(none.troubles[0].ends_with("NOBODY IS OF THE GROUP BY IT until it can be read"));
    assert_eq!((of(&none, "10.3.0.1"), of(&none, "10.9.0.1")), (2, 1), "all else holds");
    fs::write(&kids, "10.1.0.0/16\n").expect("written");
    let good = clientele.look(&settings, true);
    assert_eq!((of(&good, "10.1.0.1"), good.errors.len()), (1, 0));
    fs::write(&kids, "10.4.0.0/16\n   10.5.0.1/16 # half\nten\n").expect("written");
    let bad = clientele.look(&settings, true);
    assert_eq!((of(&bad, "10.1.0.1"), of(&bad, "10.4.0.1")), (1, 0), "all or nothing");
    let said = &bad.troubles[0];
    assert!(said.contains("kids.txt:2:4: \"10.5.0.1/16\": bits are set behind the prefix"), "{said}");
    assert!(said.contains("; kids.txt:3:1: \"ten\": not an IP address"), "{said}");
    assert!(said.ends_with("what was read of it before stays in use"), "{said}");
    fs::remove_file(&kids).expect("removed");
    assert_eq!(of(&clientele.look(&settings, false), "10.1.0.1"), 1);
}

#[test]
fn a_block_of_two_groups_is_an_error_with_both_places() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("kids.txt"), "10.1.0.0/16\n10.2.0.0/16\n").expect("written");
    fs::write(folder.path().join("guests.txt"), "# none\n10.9.0.0/16\n10.2.0.0/16\n10.3.0.0/16\n").expect("written");
    let belonging = Clientele::default().look(&settings(folder.path(), ""), false);
    assert_eq!(
        belonging.errors,
        [
            "10.2.0.0/16 stands in kids.txt:2 (clients \"kids\") and in guests.txt:3 (clients \"guests\"); it can be of one group only",
            "10.9.0.0/16 stands in `from` of the clients \"kids\" and in guests.txt:2 (clients \"guests\"); it can be of one group only",
        ]
    );
    let whose = ["10.1.0.1", "10.2.0.1", "10.9.0.1", "10.3.0.1"].map(|address| of(&belonging, address));
    assert_eq!(whose, [1, 1, 1, 2], "the first of the configuration");
    assert_eq!(belonging.blocks, [3, 1]);
    assert!(belonging.troubles[0].ends_with("; the first of the configuration has it until then"));
}

#[test]
fn a_file_of_a_hundred_thousand_blocks_is_read_and_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |n: u32| format!("10.{}.{}.{}/32\n", n >> 16 & 255, n >> 8 & 255, n & 255);
    let (even, odd): (Vec<u32>, Vec<u32>) = (0..200_000).partition(|n| n % 2 == 0);
    fs::write(folder.path().join("kids.txt"), even.into_iter().map(line).collect::<String>()).expect("written");
    fs::write(folder.path().join("guests.txt"), odd.into_iter().map(line).collect::<String>()).expect("written");
    let belonging = Clientele::default().look(&settings(folder.path(), ""), false);
    assert_eq!((belonging.errors.len(), &belonging.blocks[..]), (0, &[100_001, 100_000][..]));
    let whose = ["10.0.0.0", "10.0.0.1", "10.3.13.62", "10.3.13.63", "10.3.13.64"];
    assert_eq!(whose.map(|address| of(&belonging, address)), [1, 2, 1, 2, 0]);
    assert!(belonging.prefixes.bytes() < 2 << 20, "{} bytes", belonging.prefixes.bytes());
}
