//! What machine this is, for records of runs and measurements.

/// The processor's name and its number of cores, as the system tells them.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let name = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    let name = name.unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH));
    format!("{name}, {cores} cores")
}
