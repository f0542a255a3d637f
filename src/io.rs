//! Files of other formats than sound: safetensors, NumPy arrays, recorded references.
