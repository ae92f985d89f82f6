//! Lists on this host that must be signed.

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};
use crate::support::web::Signer;

/// What the mock says.
const FREE: &str = "198.51.100.7";

#[test]
fn a_changed_list_is_in_force_when_its_signature_is_there() {
    let (mock, folder, signer) = (Mock::fixed([198, 51, 100, 7]), Folder::new(), Signer::new());
    let publish = |name: &str, content: &str| {
        folder.replace(name, content);
        folder.replace(&format!("{name}.minisig"), signer.sign(content.as_bytes(), 1));
    };
    publish("list.txt", "one.example\n");
    publish("lists/a.txt", "a.example\n");
    folder.write("lists/unsigned.txt", "unsigned.example\n");
    let key = format!("public_key = \"{}\"", signer.public_key());
    // Nothing is found by the rescan within the test: signatures must be heard of.
    let setup = Setup::new(mock.address())
        .list("file", "list.txt", &key)
        .list("folder", "lists", &key)
        .more("[reload]\nrescan = \"1h\"\nquiet = \"100ms\"");
    let server = Server::start(&folder, &setup);
    for (name, address) in [("one.example", "0.0.0.0"), ("a.example", "0.0.0.0"), ("unsigned.example", FREE)] {
        assert!(server.a(name).is_address(address), "{name}; {}", server.stderr());
    }
    folder.replace("list.txt", "two.example\n");
    server.says("list.txt is not signed yet");
    assert!(server.a("one.example").is_address("0.0.0.0") && server.a("two.example").is_address(FREE));
    folder.replace("list.txt.minisig", signer.sign(b"two.example\n", 2));
    server.blocks("two.example");
    publish("lists/b.txt", "b.example\n");
    server.blocks("b.example");
    // A stranger's signature never counts, however long one waits.
    folder.replace("list.txt", "three.example\n");
    folder.replace("list.txt.minisig", Signer::new().sign(b"three.example\n", 3));
    server.says("list.txt is refused: list.txt.minisig does not vouch for it: it was made with another key");
    assert!(server.a("two.example").is_address("0.0.0.0") && server.a("three.example").is_address(FREE));
}
