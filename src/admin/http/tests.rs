use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Says what it is told to say.
struct Told(Mutex<Health>);

impl Watched for Told {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn health(&self) -> Health {
        self.0.lock().expect("no panic").clone()
    }
}

/// A running listener on this host, and what it tells of health.
fn started() -> (Http, SocketAddr, Arc<Told>) {
    let listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let allow_from = vec!["127.0.0.0/8".parse().expect("a block")];
    let bound = HttpBound::bind(&HttpSettings { listen, allow_from, hosts: Vec::new() }).expect("bound");
    let address = bound.addresses()[0];
    let told = Arc::new(Told(Mutex::new(Health::Serving)));
    let http = bound.start(Arc::clone(&told) as Arc<dyn Watched>, Arc::default()).expect("started");
    (http, address, told)
}

/// The answer to a request, head and body.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer to its end");
    answer
}

#[tokio::test]
async fn health_says_why_not() {
    let (_http, address, told) = started();
    for (health, status, body) in [
        (Health::Serving, "200", "{\"status\":\"serving\"}"),
        (Health::Stopping, "503", "{\"status\":\"stopping\",\"reason\":\"the server is about to end\"}"),
        (Health::Stuck(vec![1, 3]), "503", "{\"status\":\"stuck\",\"reason\":\"UDP workers do not move: 1, 3\"}"),
    ] {
        *told.0.lock().expect("no panic") = health;
        let answer = exchange(address, "GET /health HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{answer}");
        assert!(
            answer.contains("content-type: application/json\r\n") && answer.ends_with(&format!("{body}\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn dropped_it_listens_no_more() {
    let (http, address, _told) = started();
    assert!(exchange(address, "GET /metrics HTTP/1.0\r\n\r\n").await.contains("qalqan_generation 0"));
    drop(http);
    // The task ends at its next turn.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = StdListener::bind("127.0.0.1:0").expect("a port");
    let listen = vec![taken.local_addr().expect("bound")];
    let errors = HttpBound::bind(&HttpSettings { listen, ..HttpSettings::default() }).expect_err("taken");
    assert!(errors[0].to_string().contains("another program has it"), "{}", errors[0]);
    assert!(HttpBound::bind(&HttpSettings::default()).expect("nothing to bind").addresses().is_empty());
}
