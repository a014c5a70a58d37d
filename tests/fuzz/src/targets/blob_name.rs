//! The name of a blob's file.

use storage::BlobHash;

/// A hash has one spelling.
pub fn blob_name(bytes: &[u8]) {
    let Ok(name) = str::from_utf8(bytes) else { return };
    if let Ok(hash) = name.parse::<BlobHash>() {
        assert_eq!(hash.to_string(), name, "a hash has two names");
    }
}
