//! Child processes: started with a clean environment, bounded, and always ended.
