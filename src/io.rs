//! Files of other formats than sound: safetensors, NumPy arrays, recorded references.

pub mod atomic;
pub mod npy;
pub mod reference;
pub mod tensor_file;

pub use tensor_file::TensorFile;
