//! The messages of Salesforce's `eventbus.v1` that we use, with the numbers of its published `pubsub_api.proto` (layer 4).

/// Asks about a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TopicRequest {
    #[prost(string, tag = "1")]
    pub(super) topic_name: String,
}

/// What is known of a channel.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TopicInfo {
    /// Whether this user may read it.
    #[prost(bool, tag = "4")]
    pub(super) can_subscribe: bool,
}

/// Asks for a schema by its id.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SchemaRequest {
    #[prost(string, tag = "1")]
    pub(super) schema_id: String,
}

/// A schema.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SchemaInfo {
    /// Avro, as JSON.
    #[prost(string, tag = "1")]
    pub(super) schema_json: String,
}

/// An event as it was published.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProducerEvent {
    #[prost(string, tag = "2")]
    pub(super) schema_id: String,
    /// Avro, binary.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) payload: Vec<u8>,
}

/// An event, and behind it the place to go on from.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConsumerEvent {
    #[prost(message, optional, tag = "1")]
    pub(super) event: Option<ProducerEvent>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) replay_id: Vec<u8>,
}

/// From the events that come from now on.
pub(super) const LATEST: i32 = 0;
/// From behind `replay_id`.
pub(super) const CUSTOM: i32 = 2;

/// Begins a subscription, or asks for more of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FetchRequest {
    #[prost(string, tag = "1")]
    pub(super) topic_name: String,
    /// [`LATEST`] or [`CUSTOM`]; read in the first request only.
    #[prost(int32, tag = "2")]
    pub(super) replay_preset: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) replay_id: Vec<u8>,
    /// How many events more may come, at most 100.
    #[prost(int32, tag = "4")]
    pub(super) num_requested: i32,
}

/// Events; none where it only says that the stream lives.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FetchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) events: Vec<ConsumerEvent>,
    /// Behind everything that there is.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) latest_replay_id: Vec<u8>,
    /// Events that were asked for and have not come yet.
    #[prost(int32, tag = "4")]
    pub(super) pending_num_requested: i32,
}
