//! Values that the targets of one build share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type that a kind asks for, for one build. A kind keeps here the results that
/// another target would compute again.
#[derive(Default)]
pub struct Shared(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Shared {
    /// Returns the build's value of this type, its default at the first call.
    pub fn get<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(value).downcast().expect("BUG: a value is found by its type")
    }

    /// Returns the build's value of this type, if there is one.
    pub fn find<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.get(&TypeId::of::<T>()).map(Arc::clone)?;
        Some(value.downcast().expect("BUG: a value is found by its type"))
    }

    /// Sets the build's value of a type.
    pub fn set<T: Any + Send + Sync>(&self, value: Arc<T>) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.insert(TypeId::of::<T>(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[test]
    fn all_callers_get_one_value_of_a_type() {
        let shared = Shared::default();
        shared.get::<AtomicU8>().store(7, Ordering::Relaxed);
        assert_eq!(shared.get::<AtomicU8>().load(Ordering::Relaxed), 7);
        assert_eq!(*shared.get::<u8>(), 0);
        assert_eq!(shared.find::<u16>(), None);
        shared.set(Arc::new(3_u16));
        assert_eq!(*shared.find::<u16>().unwrap(), 3);
    }
}
