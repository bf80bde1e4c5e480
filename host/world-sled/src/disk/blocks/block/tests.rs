use super::*;

fn sample(count: u64, value: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entry = |n: u64| ([b"key/", &(n * 7).to_be_bytes()[..]].concat(), vec![n as u8; value + n as usize % 3]);
    (0..count).map(entry).collect()
}

fn built(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::default();
    entries.iter().for_each(|(key, value)| builder.push(key, value));
    builder.finish()
}

#[test]
fn what_was_put_in_is_found() {
    for (count, value) in [(1, 0), (1, 3), (2, 0), (300, 0), (300, 40), (3, 200_000)] {
        let entries = sample(count, value);
        let block = Block::read(&built(&entries)).expect("readable");
        assert_eq!(block.len(), entries.len());
        for ((key, value), (found_key, found)) in entries.iter().zip(block.iter()) {
            assert_eq!((&key[..], &value[..]), (&found_key[..], found));
            assert_eq!(block.get(key), Some(&value[..]));
            assert_eq!(block.get(&[&key[..], b"x"].concat()), None);
        }
        assert_eq!((block.get(b""), block.get(b"z")), (None, None));
    }
}

#[test]
fn alike_entries_take_little() {
    let entries = sample(300, 0);
    assert!(built(&entries).len() < 300 * 6, "{}", built(&entries).len());
    let entries = sample(50, 400);
    assert!(built(&entries).len() < 50 * 40, "{}", built(&entries).len());
}

/// A block that was cut, or has a wrong byte, is refused or is one whose keys ascend: never a panic, never an endless walk.
#[test]
fn a_damaged_block_is_no_panic() {
    for value in [built(&sample(5, 2)), built(&sample(60, 40))] {
        for end in 0..value.len() {
            let _ = Block::read(&value[..end]).map(|block| block.len());
        }
        for at in 0..value.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut wrong = value.clone();
                wrong[at] ^= flip;
                if let Ok(block) = Block::read(&wrong) {
                    assert!(block.iter().is_sorted_by(|one, other| one.0 < other.0), "byte {at}");
                }
            }
        }
    }
}
