//! What stands above the organisations: which there are, and whose tokens are good.

pub mod directory;
pub mod head;
pub mod offline;
pub mod org;
pub mod payload_key;
pub mod principals;
pub mod reencryptor;
pub mod rotation;
pub mod signer;
pub mod signers;
pub mod signing_key;
pub mod task_token;
