// The program of one trial.
import { suites } from './suites/index.js';
import { answerTrial } from './trial-answer.js';

await answerTrial(suites);
