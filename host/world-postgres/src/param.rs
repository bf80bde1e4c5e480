//! Values in statements, with the types that the server knows them by: a statement that is not prepared must say them.

use tokio_postgres::types::{ToSql, Type};

/// A value of a statement.
pub trait Param: ToSql + Sync {
    fn kind(&self) -> Type;

    fn value(&self) -> &(dyn ToSql + Sync);
}

macro_rules! params {
    ($($rust:ty => $server:ident,)*) => {$(
        impl Param for $rust {
            fn kind(&self) -> Type {
                Type::$server
            }

            fn value(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
    )*};
}

params! {
    bool => BOOL,
    i16 => INT2,
    i32 => INT4,
    i64 => INT8,
    Option<i64> => INT8,
    &str => TEXT,
    String => TEXT,
    &[u8] => BYTEA,
    Vec<u8> => BYTEA,
    Vec<bool> => BOOL_ARRAY,
    Vec<i16> => INT2_ARRAY,
    Vec<i32> => INT4_ARRAY,
    Vec<i64> => INT8_ARRAY,
    Vec<&str> => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<&[u8]> => BYTEA_ARRAY,
    Vec<Vec<u8>> => BYTEA_ARRAY,
}
