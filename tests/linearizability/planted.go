package main

func plantedByHand() error              { return nil }
func (w *world) plantedInSample() error { return nil }
