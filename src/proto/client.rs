//! Center and client: the frames of their link, both directions. What is asked and answered is in `request`.

use serde::{Deserialize, Serialize};

use super::hello::{ErrorFrame, Hello, Welcome};
use super::request::{Answer, Item, Refusal, Request};
use crate::model::RequestId;

/// Client to center.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromClient {
    /// First.
    Hello(Hello),
    /// A question or an order.
    Request(Box<RequestFrame>),
    /// The client has taken this many more items of a stream.
    Credit(Credit),
    /// The client wants no more of this.
    Cancel(Cancel),
    /// The link is closed.
    Error(ErrorFrame),
}

/// Center to client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToClient {
    /// Answer to the hello.
    Welcome(Welcome),
    /// The answer to a request; its last frame.
    Answer(Box<AnswerFrame>),
    /// The request was refused; its last frame.
    Refused(RefusedFrame),
    /// One item of a stream.
    Item(ItemFrame),
    /// The stream is over; its last frame.
    End(End),
    /// The link is closed.
    Error(ErrorFrame),
}

/// A question or an order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFrame {
    /// Names the request on this link.
    pub id: u64,
    /// Names a changing request for good: repeated within 10 min, it gets its first answer again.
    pub request_id: Option<RequestId>,
    /// What is asked.
    pub ask: Request,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerFrame {
    /// The request.
    pub id: u64,
    /// What is answered.
    pub answer: Answer,
}

/// A request refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedFrame {
    /// The request.
    pub id: u64,
    /// Why.
    pub refusal: Refusal,
}

/// One item of a stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemFrame {
    /// The request that opened the stream.
    pub id: u64,
    /// The item.
    pub item: Item,
}

/// A stream is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The request that opened the stream.
    pub id: u64,
    /// What was wrong, if anything.
    pub refusal: Option<Refusal>,
}

/// Items of a stream under way to a client without credit at most.
pub const ITEM_WINDOW: u64 = 64;

/// Items taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// The request that opened the stream.
    pub id: u64,
    /// Items taken.
    pub items: u64,
}

/// No more of this.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The request.
    pub id: u64,
}
