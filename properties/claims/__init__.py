"""What published questions and answers claim: one module a question, every statement executed."""
