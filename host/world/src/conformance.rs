//! Every world passes this.
