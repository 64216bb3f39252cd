#!/usr/bin/env node
import { Command } from 'commander';

await new Command('slimsam')
  .description('compresses a Segment Anything model (SAM) on your own photographs')
  .parseAsync();
