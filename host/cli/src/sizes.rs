//! Sizes as they are typed and shown.

/// Bytes, with K, M or G for powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("{unit:?} is no unit of memory; there are K, M and G, as in 256M")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("found {text:?}, expected a size like 256M or 2G"))?;
    match count.checked_mul(1 << shift) {
        Some(bytes) if bytes >= 1 << 20 => Ok(bytes),
        Some(_) => Err("the least is 1M".into()),
        None => Err(format!("{text} is more than there are addresses")),
    }
}

/// For people.
pub fn show(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "bytes");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in
            [("1048576", Ok(1 << 20)), ("256M", Ok(256 << 20)), ("2GiB", Ok(2 << 30)), ("4096k", Ok(4 << 20))]
        {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        for (bytes, shown) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(show(bytes), shown);
        }
        for text in ["", "M", "-1M", "1.5G", "1T", "12K", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
