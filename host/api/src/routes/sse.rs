//! Messages of live streams.

use axum::response::sse::Event as Message;
use serde::Serialize;

/// A message of a stream with this as its data.
pub fn json_data<T: Serialize>(message: Message, data: &T) -> Message {
    // These types have string keys only, so they are always JSON, and JSON text holds no line break.
    message.data(serde_json::to_string(data).expect("views are always JSON"))
}
