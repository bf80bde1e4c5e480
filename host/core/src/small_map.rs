//! A map for what most runs have none or one of: tasks, open calls, fibers.
//!
//! An empty hash map has 48 bytes, one with an entry has room for four of them and keeps it. A waiting run has a dozen such
//! maps, and a host has many thousands of waiting runs.

use std::borrow::Borrow;
use std::collections::{HashMap, hash_map};
use std::hash::Hash;

/// A hash map that takes two words until it has two entries, and gives its table back when it has none.
#[derive(Debug, Clone)]
pub struct SmallMap<K, V>(Entries<K, V>);

#[derive(Debug, Clone)]
enum Entries<K, V> {
    None,
    One(Box<(K, V)>),
    #[expect(clippy::box_collection, reason = "else an empty map would have its size")]
    Many(Box<HashMap<K, V>>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        SmallMap(Entries::None)
    }
}

impl<K, V> SmallMap<K, V> {
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::None => 0,
            Entries::One(_) => 1,
            Entries::Many(map) => map.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match &self.0 {
            Entries::None => (None, None),
            Entries::One(entry) => (Some((&entry.0, &entry.1)), None),
            Entries::Many(map) => (None, Some(map.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let (one, many) = match &mut self.0 {
            Entries::None => (None, None),
            Entries::One(entry) => (Some((&entry.0, &mut entry.1)), None),
            Entries::Many(map) => (None, Some(map.iter_mut())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn clear(&mut self) {
        self.0 = Entries::None;
    }
}

impl<K: Eq + Hash, V> SmallMap<K, V> {
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match &self.0 {
            Entries::One(entry) if entry.0.borrow() == key => Some((&entry.0, &entry.1)),
            Entries::Many(map) => map.get_key_value(key),
            _ => None,
        }
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match &mut self.0 {
            Entries::One(entry) if entry.0.borrow() == key => Some(&mut entry.1),
            Entries::Many(map) => map.get_mut(key),
            _ => None,
        }
    }

    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key).is_some()
    }

    /// The value that the key had before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.0 {
            Entries::None => self.0 = Entries::One(Box::new((key, value))),
            Entries::One(entry) if entry.0 == key => return Some(std::mem::replace(&mut entry.1, value)),
            Entries::One(_) => drop(self.table().insert(key, value)),
            Entries::Many(map) => return map.insert(key, value),
        }
        None
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match &mut self.0 {
            Entries::One(entry) if entry.0.borrow() == key => {
                let Entries::One(entry) = std::mem::replace(&mut self.0, Entries::None) else { return None };
                Some(entry.1)
            }
            Entries::Many(map) => {
                let value = map.remove(key);
                if map.is_empty() {
                    self.0 = Entries::None;
                }
                value
            }
            _ => None,
        }
    }

    /// The value of the key; an empty one if it had none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        match &self.0 {
            Entries::None => self.0 = Entries::One(Box::new((key, V::default()))),
            Entries::One(entry) if entry.0 == key => {}
            _ => return self.table().entry(key).or_default(),
        }
        match &mut self.0 {
            Entries::One(entry) => &mut entry.1,
            _ => unreachable!("there is one entry"),
        }
    }

    /// All entries in a table.
    fn table(&mut self) -> &mut HashMap<K, V> {
        if !matches!(self.0, Entries::Many(_)) {
            let one = std::mem::replace(&mut self.0, Entries::None);
            let entries = SmallMap(one).into_iter();
            self.0 = Entries::Many(Box::new(entries.collect()));
        }
        match &mut self.0 {
            Entries::Many(map) => map,
            _ => unreachable!("it was made one"),
        }
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = SmallMap::default();
        entries.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        map
    }
}

impl<K, V> IntoIterator for SmallMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Chain<
        std::option::IntoIter<(K, V)>,
        std::iter::Flatten<std::option::IntoIter<hash_map::IntoIter<K, V>>>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self.0 {
            Entries::None => (None, None),
            Entries::One(entry) => (Some(*entry), None),
            Entries::Many(map) => (None, Some(map.into_iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::SmallMap;

    /// Whatever is done to it, it holds what a hash map holds.
    #[test]
    fn it_is_a_map() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut small, mut map) = (SmallMap::<u32, u64>::default(), HashMap::new());
        for _ in 0..20_000 {
            let (key, value) = (rng.next_u32() % 4, rng.next_u64());
            match rng.next_u32() % 6 {
                0 => assert_eq!(small.insert(key, value), map.insert(key, value)),
                1 | 2 => assert_eq!(small.remove(&key), map.remove(&key)),
                3 => assert_eq!(*small.or_default(key), *map.entry(key).or_default()),
                4 => assert_eq!(
                    small.get_mut(&key).map(|held| std::mem::replace(held, value)),
                    map.get_mut(&key).map(|held| std::mem::replace(held, value))
                ),
                _ => small
                    .iter_mut()
                    .for_each(|(key, held)| *held = *map.entry(*key).and_modify(|held| *held ^= value).or_default()),
            }
            assert_eq!(
                (small.len(), small.is_empty(), small.contains_key(&key)),
                (map.len(), map.is_empty(), map.contains_key(&key))
            );
            let held: HashMap<_, _> = small.iter().map(|(key, value)| (*key, *value)).collect();
            assert_eq!(held, map);
            assert_eq!(small.clone().into_iter().collect::<HashMap<_, _>>(), map);
        }
    }

    #[test]
    fn it_keeps_no_room() {
        assert_eq!(size_of::<SmallMap<String, [u8; 200]>>(), 2 * size_of::<usize>());
        let mut small: SmallMap<u32, u32> = (0..9).map(|n| (n, n)).collect();
        (0..9).for_each(|n| assert_eq!(small.remove(&n), Some(n)));
        assert!(matches!(small.0, super::Entries::None));
    }
}
