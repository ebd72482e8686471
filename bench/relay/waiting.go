package main

import "context"

func (b *bench) outage(ctx context.Context) error  { return nil }
func (b *bench) idle(ctx context.Context) error    { return nil }
func (b *bench) drop(ctx context.Context) error    { return nil }
func (b *bench) window(ctx context.Context) error  { return nil }
func (b *bench) list(ctx context.Context) error    { return nil }
func (b *bench) million(ctx context.Context) error { return nil }
