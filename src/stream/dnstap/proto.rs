//! dnstap's messages, as far as we fill them in, by the numbers of its schema (dnstap.info).

/// The envelope.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::stream) struct Dnstap {
    /// Who made it: this host's name.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub identity: Option<Vec<u8>>,
    /// With which software.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub version: Option<Vec<u8>>,
    /// Whatever the maker likes: here JSON.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub extra: Option<Vec<u8>>,
    /// What happened.
    #[prost(message, optional, tag = "14")]
    pub message: Option<Message>,
    /// Which kind of content: always [`MESSAGE`].
    #[prost(int32, required, tag = "15")]
    pub r#type: i32,
}

/// The only kind of content there is.
pub(in crate::stream) const MESSAGE: i32 = 1;

/// A DNS message and what is known of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::stream) struct Message {
    /// One of the numbers in [`message`].
    #[prost(int32, required, tag = "1")]
    pub r#type: i32,
    /// 1: IPv4, 2: IPv6.
    #[prost(int32, optional, tag = "2")]
    pub socket_family: Option<i32>,
    /// 1: UDP, 2: TCP.
    #[prost(int32, optional, tag = "3")]
    pub socket_protocol: Option<i32>,
    /// Who asked.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub query_address: Option<Vec<u8>>,
    /// Seconds.
    #[prost(uint64, optional, tag = "8")]
    pub query_time_sec: Option<u64>,
    /// Nanoseconds of the second.
    #[prost(fixed32, optional, tag = "9")]
    pub query_time_nsec: Option<u32>,
    /// The question on the wire.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub query_message: Option<Vec<u8>>,
    /// Seconds.
    #[prost(uint64, optional, tag = "12")]
    pub response_time_sec: Option<u64>,
    /// Nanoseconds of the second.
    #[prost(fixed32, optional, tag = "13")]
    pub response_time_nsec: Option<u32>,
    /// The answer on the wire.
    #[prost(bytes = "vec", optional, tag = "14")]
    pub response_message: Option<Vec<u8>>,
    /// The rule that was applied.
    #[prost(message, optional, tag = "15")]
    pub policy: Option<Policy>,
}

/// Types of a [`Message`].
pub(in crate::stream) mod message {
    /// A client has asked.
    pub const CLIENT_QUERY: i32 = 5;
    /// A client was answered.
    pub const CLIENT_RESPONSE: i32 = 6;
}

/// What an operator's rule did to a message.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::stream) struct Policy {
    /// What kind of rule.
    #[prost(string, optional, tag = "1")]
    pub r#type: Option<String>,
    /// Its owner in a policy zone: wire octets.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub rule: Option<Vec<u8>>,
    /// One of the numbers in [`action`].
    #[prost(int32, optional, tag = "3")]
    pub action: Option<i32>,
    /// What of the message matched: always [`QNAME`].
    #[prost(int32, optional, tag = "4")]
    pub r#match: Option<i32>,
    /// The name that matched: wire octets.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub value: Option<Vec<u8>>,
}

/// The name asked for, or one it is an alias of.
pub(in crate::stream) const QNAME: i32 = 1;

/// Actions of a [`Policy`].
pub(in crate::stream) mod action {
    /// "No such name".
    pub const NXDOMAIN: i32 = 1;
    /// "No such record".
    pub const NODATA: i32 = 2;
    /// The ordinary answer.
    pub const PASS: i32 = 3;
    /// No answer.
    pub const DROP: i32 = 4;
    /// "Ask over TCP".
    pub const TRUNCATE: i32 = 5;
    /// Records of the operator's own.
    pub const LOCAL_DATA: i32 = 6;
}
