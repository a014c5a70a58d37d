//! What a client asks.

use prost::Message as _;
use proto::v1 as wire;
use replica::{Command, Operation, Value};

use crate::convert;

/// What is accepted becomes a command that the log can keep.
pub fn client_request(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => wire::SetRequest::decode(bytes).ok().into_iter().for_each(set),
        1 => wire::DeleteRequest::decode(bytes).ok().into_iter().for_each(delete),
        2 => {
            use wire::call_request::Call;
            match wire::CallRequest::decode(bytes).ok().and_then(|call| call.call) {
                Some(Call::Set(request)) => set(request),
                Some(Call::Delete(request)) => delete(request),
                Some(Call::Get(request)) => drop(convert::key(request.key)),
                _ => {}
            }
        }
        3 => {
            use wire::upload_request::Part;
            if let Ok(wire::UploadRequest { part: Some(Part::Header(header)), .. }) = wire::UploadRequest::decode(bytes) {
                let (stamp, condition) = (convert::stamp(header.session), convert::condition(header.condition));
                if let (Ok(key), Ok(condition)) = (convert::key(header.key), condition) {
                    let value = Value::Blob { hash: [7; 32], size: header.size.unwrap_or(0) };
                    keep(Command { session: stamp, operation: Operation::Put { key, value, condition, expires: None } });
                }
            }
        }
        _ => {
            if let Ok(hash) = convert::hash(bytes) {
                assert_eq!(hash[..], *bytes, "another hash");
            }
            if let Ok(id) = convert::cluster_id(bytes) {
                assert_eq!(id[..], *bytes, "another id");
            }
        }
    }
}

fn set(request: wire::SetRequest) {
    let (stamp, condition) = (convert::stamp(request.session), convert::condition(request.condition));
    if let (Ok(key), Ok(condition)) = (convert::key(request.key), condition) {
        let value = Value::Inline(request.value.to_vec());
        keep(Command { session: stamp, operation: Operation::Put { key, value, condition, expires: None } });
    }
}

fn delete(request: wire::DeleteRequest) {
    let (stamp, condition) = (convert::stamp(request.session), convert::condition(request.condition));
    if let (Ok(key), Ok(condition)) = (convert::key(request.key), condition) {
        keep(Command { session: stamp, operation: Operation::Delete { key, condition } });
    }
}

fn keep(command: Command) {
    let bytes = command.encode();
    let decoded = Command::decode(&bytes).map(|command| command.owned());
    assert_eq!(decoded, Ok(command), "the log keeps another command");
}
