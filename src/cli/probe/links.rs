//! Ways to a server: UDP sockets and TCP connections, each with its own ids, all telling one queue what came.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::once::{DATAGRAM, framed, udp_socket};
use super::pace::Ids;

/// UDP sockets: more ports, and more room in the kernel's buffers.
const SOCKETS: usize = 8;
/// TCP connections.
const CONNECTIONS: usize = 4;
/// Unanswered questions on one connection. Servers stop reading at some number; ours at 64 by default.
const ON_CONNECTION: usize = 32;
/// Events that wait to be looked at; more wait in the kernel.
const EVENTS: usize = 1024;

/// A link and an id on it.
pub type Key = (u32, u16);

/// What a link tells.
pub enum Event {
    /// A message came.
    Message(u32, Vec<u8>),
    /// There will be none any more.
    Closed(u32),
}

/// All links to one server.
pub struct Links {
    server: SocketAddr,
    timeout: Duration,
    udp: Vec<Link>,
    tcp: Vec<Link>,
    next: u32,
    turn: usize,
    ids: Ids,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

/// One socket or connection.
struct Link {
    number: u32,
    out: Out,
    /// Questions under way.
    busy: usize,
    task: JoinHandle<()>,
}

/// Where questions go.
enum Out {
    Udp(Arc<UdpSocket>),
    Tcp(mpsc::Sender<Vec<u8>>),
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// None yet.
    pub fn new(server: SocketAddr, timeout: Duration) -> Self {
        let events = mpsc::channel(EVENTS);
        Self { server, timeout, udp: Vec::new(), tcp: Vec::new(), next: 0, turn: 0, ids: Ids::default(), events }
    }

    /// The next thing that happens.
    pub async fn event(&mut self) -> Option<Event> {
        self.events.1.recv().await
    }

    /// The next thing that has happened already.
    pub fn event_at_hand(&mut self) -> Option<Event> {
        self.events.1.try_recv().ok()
    }

    /// Whether there is room for one more question over TCP.
    pub fn has_room(&self, tcp: bool) -> bool {
        !tcp || self.tcp.len() < CONNECTIONS || self.tcp.iter().any(|link| link.busy < ON_CONNECTION)
    }

    /// Sends a query with an id of its own, under which its answer will come.
    pub async fn send<T>(&mut self, mut query: Vec<u8>, tcp: bool, taken: &HashMap<Key, T>) -> io::Result<Key> {
        let at = if tcp { self.connection().await? } else { self.socket().await? };
        let links = if tcp { &mut self.tcp } else { &mut self.udp };
        let link = links.get_mut(at).ok_or(io::ErrorKind::NotConnected)?;
        let mut key = (link.number, self.ids.next());
        while taken.contains_key(&key) {
            key.1 = self.ids.next();
        }
        if let Some(id) = query.first_chunk_mut() {
            *id = key.1.to_be_bytes();
        }
        match &link.out {
            // An error here is about an earlier datagram, or passes; this one is then lost, as any may be.
            Out::Udp(socket) => drop(socket.send(&query).await),
            Out::Tcp(queries) => queries.try_send(framed(&query)).map_err(|_| io::ErrorKind::NotConnected)?,
        }
        link.busy += 1;
        Ok(key)
    }

    /// The question under this key is no longer waited for.
    pub fn done(&mut self, key: Key) {
        let mut links = self.udp.iter_mut().chain(&mut self.tcp);
        if let Some(link) = links.find(|link| link.number == key.0) {
            link.busy = link.busy.saturating_sub(1);
        }
    }

    /// A connection is gone.
    pub fn drop_link(&mut self, number: u32) {
        self.tcp.retain(|link| link.number != number);
    }

    /// The socket whose turn it is.
    async fn socket(&mut self) -> io::Result<usize> {
        if self.udp.len() < SOCKETS {
            let socket = Arc::new(udp_socket(self.server).await?);
            let number = self.number();
            let task = tokio::spawn(receive(Arc::clone(&socket), number, self.events.0.clone()));
            self.udp.push(Link { number, out: Out::Udp(socket), busy: 0, task });
            return Ok(self.udp.len() - 1);
        }
        self.turn = (self.turn + 1) % self.udp.len();
        Ok(self.turn)
    }

    /// The least busy connection, or a new one.
    async fn connection(&mut self) -> io::Result<usize> {
        let free = self.tcp.iter().enumerate().min_by_key(|(_, link)| link.busy).map(|(at, link)| (at, link.busy));
        match free {
            Some((at, busy)) if busy == 0 || self.tcp.len() >= CONNECTIONS => return Ok(at),
            _ => {}
        }
        let connect = tokio::time::timeout(self.timeout, TcpStream::connect(self.server));
        let stream = connect.await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let number = self.number();
        let (sender, queries) = mpsc::channel(ON_CONNECTION + 1);
        let task = tokio::spawn(converse(stream, queries, number, self.events.0.clone()));
        self.tcp.push(Link { number, out: Out::Tcp(sender), busy: 0, task });
        Ok(self.tcp.len() - 1)
    }

    /// A number no link has had.
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
}

/// Takes datagrams in until nobody wants them.
async fn receive(socket: Arc<UdpSocket>, number: u32, events: mpsc::Sender<Event>) {
    let mut buffer = [0; DATAGRAM];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) => {
                let message = buffer.get(..len).unwrap_or_default().to_vec();
                if events.send(Event::Message(number, message)).await.is_err() {
                    return;
                }
            }
            // A closed port, most likely: the question runs into its time-out.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Sends and takes messages until the connection ends.
async fn converse(stream: TcpStream, mut queries: mpsc::Receiver<Vec<u8>>, number: u32, events: mpsc::Sender<Event>) {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    let writing = async {
        while let Some(query) = queries.recv().await {
            to.write_all(&query).await?;
        }
        io::Result::Ok(())
    };
    let reading = async {
        loop {
            let mut message = vec![0; usize::from(from.read_u16().await?)];
            from.read_exact(&mut message).await?;
            if events.send(Event::Message(number, message)).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    tokio::select! {
        _ = writing => {}
        _ = reading => {}
    }
    let _ = events.send(Event::Closed(number)).await;
}
