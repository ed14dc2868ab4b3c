// The program of one trial of the fleet: see ../trial.ts.
import { answerTrial } from '../trial-answer.js';
import { suites } from './suites/index.js';

await answerTrial(suites);
