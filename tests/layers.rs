//! Reads `src/` and checks what DESIGN section 4 promises: imports go downwards, every third-party crate has its
//! owners, `unsafe` stays in `net`, and no file grows past 500 lines. A new module or dependency needs a line here.

#[path = "layers/scan.rs"]
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scan::{Source, sources};

/// The layer of every module of the crate root, those to come included.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["util", "name"]),
    (1, &["wire", "rule", "event", "net", "signature", "system"]),
    (
        2,
        &[
            "list", "fetch", "set", "policy", "limit", "cache", "upstream", "local", "stats", "hits", "stream",
            "audit", "history",
        ],
    ),
    (3, &["gate", "snapshot", "store", "ship"]),
    (4, &["engine"]),
    (5, &["serve", "admin"]),
    (6, &["config"]),
    (7, &["reload"]),
    (8, &["app"]),
    (9, &["cli", "main"]),
];

/// Imports within a layer or upwards that are allowed, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("event", "rule", "a hit says which mode its rule had, and which orders"),
    ("stream", "hits", "streams show clients, names and times, and rotate files, as the hit log does"),
    ("main", "cli", "the binary does nothing but call the command line"),
];

/// Who may use a third-party crate; `*` is everybody, nobody means tests only.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["admin"]),
    ("cardinality-estimator", &["stats"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("csv", &["list", "cli::audit", "cli::report"]),
    ("data-encoding", &["serve", "upstream"]),
    ("encoding_rs", &["list"]),
    ("flate2", &["fetch"]),
    ("foldhash", &["set", "cache", "limit", "local", "hits", "gate", "stats", "stream"]),
    ("h2", &["upstream"]),
    ("h3", &["serve", "upstream"]),
    ("h3-quinn", &["serve", "upstream"]),
    ("hickory-proto", &["upstream", "local", "list::rpz", "cli::why"]),
    ("hickory-resolver", &["upstream"]),
    ("hickory-server", &["local"]),
    ("http-body-util", &["serve"]),
    ("hyper", &["admin", "serve", "upstream"]),
    ("hyper-util", &["admin", "serve"]),
    ("idna", &["name"]),
    ("jiff", &["*"]),
    ("libc", &["net"]),
    ("maud", &["cli::report"]),
    ("minisign-verify", &["signature"]),
    ("notify", &["reload"]),
    ("parquet", &["cli::report"]),
    ("prometheus-client", &["admin"]),
    ("proptest", &[]),
    ("prost", &["stream"]),
    ("proxy-header", &["serve"]),
    ("psl", &["gate"]),
    ("quinn", &["serve", "upstream"]),
    ("rand", &["upstream", "wire::cookie"]),
    ("rcgen", &["cli"]),
    ("rusqlite", &["store"]),
    ("rustls", &["fetch", "serve", "upstream"]),
    ("sd-notify", &["system"]),
    ("serde", &["*"]),
    ("serde_json", &["*"]),
    ("sha2", &["util", "hits"]),
    ("siphasher", &["wire"]),
    ("socket2", &["net"]),
    ("tempfile", &[]),
    ("terminal_size", &["cli"]),
    (
        "tokio",
        &["net", "system", "fetch", "upstream", "local", "engine", "serve", "admin", "reload", "app", "cli::probe"],
    ),
    ("tokio-rustls", &["serve", "upstream"]),
    ("toml", &["config", "list::orders"]),
    ("tracing", &["*"]),
    ("tracing-subscriber", &["app", "cli"]),
    ("ureq", &["fetch"]),
    ("url", &["fetch"]),
    ("webpki-roots", &["upstream"]),
    ("x509-cert", &["serve", "upstream"]),
    ("zstd", &["fetch", "history"]),
];

/// Lines a file may have (STYLE habit 4).
const MAX_LINES: usize = 500;

/// The layer of a module of the crate root.
fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, modules)| modules.contains(&module)).map(|&(layer, _)| layer)
}

/// Fails with all complaints at once.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What is wrong with the imports of one file.
fn upward_imports(source: &Source) -> Vec<String> {
    let Some(own) = source.module.first() else { return Vec::new() };
    let Some(from) = layer(own) else {
        return vec![format!("{}: module {own} has no layer: add it to LAYERS", source.path)];
    };
    let mut complaints = Vec::new();
    for import in source.imports() {
        let place = format!("{}:{}", source.path, import.line);
        let to = import.module;
        if to == "*" {
            complaints.push(format!("{place} imports everything of the crate root: name the module"));
            continue;
        }
        let Some(layer) = layer(&to).filter(|_| to != *own) else { continue };
        let allowed = EXCEPTIONS.iter().any(|&(a, b, _)| a == own && b == to);
        if layer >= from && !allowed {
            let beside = if layer == from { ", its own layer" } else { "" };
            complaints.push(format!("{place} imports {to} (layer {layer}{beside}) from {own} (layer {from})"));
        }
    }
    complaints
}

/// Uses of third-party crates by modules that do not own them.
fn foreign_crates(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, owners) in OWNERS {
        let owned = owners.iter().any(|owner| *owner == "*" || source.is_in(owner));
        for line in source.uses_of_crate(&name.replace('-', "_")).into_iter().filter(|_| !owned) {
            let allowed = if owners.is_empty() { "tests".into() } else { owners.join(", ") };
            let module = source.module.join("::");
            complaints.push(format!("{}:{line} uses {name}, which belongs to {allowed}, in {module}", source.path));
        }
    }
    complaints
}

/// `unsafe` outside `net`.
fn unsafe_code(source: &Source) -> Vec<String> {
    if source.is_in("net") {
        return Vec::new();
    }
    let lines = source.lines_with(&["unsafe", "unsafe_code"]);
    lines.into_iter().map(|line| format!("{}:{line} has unsafe code, which belongs to net", source.path)).collect()
}

#[test]
fn imports_go_downwards() {
    none(&sources().iter().flat_map(upward_imports).collect::<Vec<_>>());
}

#[test]
fn every_crate_is_used_by_its_owners_only() {
    none(&sources().iter().flat_map(foreign_crates).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_owners() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = text.parse().expect("TOML");
    let mut known: BTreeMap<&str, bool> = OWNERS.iter().map(|&(name, owners)| (name, owners.is_empty())).collect();
    let mut complaints = Vec::new();
    for (section, tests_only) in [("dependencies", false), ("dev-dependencies", true)] {
        for name in manifest[section].as_table().expect("a table").keys() {
            match known.remove(name.as_str()) {
                None => complaints.push(format!("{name} of [{section}] has no owner: add it to OWNERS")),
                Some(nobody) if nobody != tests_only => {
                    complaints.push(format!(
                        "{name} of [{section}]: OWNERS says {}",
                        if nobody { "tests only" } else { "modules" }
                    ));
                }
                Some(_) => {}
            }
        }
    }
    complaints.extend(known.keys().map(|name| format!("{name} stands in OWNERS, not in Cargo.toml")));
    none(&complaints);
}

#[test]
fn unsafe_stays_in_net() {
    none(&sources().iter().flat_map(unsafe_code).collect::<Vec<_>>());
}

#[test]
fn files_stay_readable() {
    let long = sources().into_iter().filter(|source| source.lines > MAX_LINES);
    none(
        &long
            .map(|source| format!("{} has {} lines: split it at a seam", source.path, source.lines))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_module_has_a_layer_and_is_declared() {
    let found: BTreeSet<String> = sources().into_iter().filter_map(|source| source.module.first().cloned()).collect();
    assert!(found.contains("name") && found.contains("main"), "src/ was not read: {found:?}");
    let unknown: Vec<_> = found.iter().filter(|module| layer(module).is_none()).collect();
    assert!(unknown.is_empty(), "no layer: {unknown:?}");
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("src/lib.rs");
    let undeclared = found.iter().filter(|module| *module != "main" && !lib.contains(&format!("mod {module};")));
    none(&undeclared.map(|module| format!("src/{module}.rs is not declared in src/lib.rs")).collect::<Vec<_>>());
}

/// The checks themselves: what they must see, and what they must not take for an import.
#[test]
fn the_checks_see_through_comments_strings_and_tests() {
    let text = r##"
        //! crate::app is only talked about, unsafe too.
        use crate::{event::{Hit, Mode}, hits, name::Name as crate_name}; /* use crate::cli; /* nested */ use crate::app; */
        use super::super::engine;
        mod csv;
        const A: &str = "crate::app unsafe tokio::spawn"; const B: char = '"'; const C: &str = r#"crate::cli " "#;
        fn f<'a>(x: &'a str) -> &'a str { crate::reload::go(b'\'', "\\", '\''); csv::mine(); toml :: from_str(x) }
        use super::{notify, Other};
        fn g() { notify::of_ours(); tokio::spawn(async {}); a.libc(); other::libc::x(); unsafe { h() } }
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { use crate::app; fn t() { if true { tokio::spawn("}") } unsafe {} } }
        #[cfg(test)]
        use crate::cli;
        use crate::*;
    "##;
    let source = Source::new("src/policy/inner.rs", text);
    assert_eq!(source.module, ["policy", "inner"]);
    let complaints = [upward_imports(&source), foreign_crates(&source), unsafe_code(&source)].concat();
    let expected = [
        "src/policy/inner.rs:3 imports hits (layer 2, its own layer) from policy (layer 2)",
        "src/policy/inner.rs:4 imports engine (layer 4) from policy (layer 2)",
        "src/policy/inner.rs:7 imports reload (layer 7) from policy (layer 2)",
        "src/policy/inner.rs:15 imports everything of the crate root: name the module",
        "src/policy/inner.rs:9 uses tokio, which belongs to net, system, fetch, upstream, local, engine, serve, admin, reload, app, \
         cli::probe, in policy::inner",
        "src/policy/inner.rs:7 uses toml, which belongs to config, list::orders, in policy::inner",
        "src/policy/inner.rs:9 has unsafe code, which belongs to net",
    ];
    assert_eq!(complaints, expected);
    let nested = Source::new("src/list/orders/dates.rs", "use toml::Value;");
    assert!(nested.is_in("list::orders") && nested.is_in("list") && !nested.is_in("list::orders::dates::x"));
    assert_eq!(foreign_crates(&nested), Vec::<String>::new());
    let main = Source::new("src/main.rs", "fn main() { qalqan::cli::run(); qalqan::name::f() }");
    assert_eq!(main.imports().into_iter().map(|import| import.module).collect::<Vec<_>>(), ["cli", "name"]);
}
